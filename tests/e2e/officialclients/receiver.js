// A receiver of webhooks as Smartcar's client for Node.js wants it: the parsed
// body is verified. It prints its port, and answers 401 to what it does not
// accept.
'use strict';

const http = require('http');
const smartcar = require('smartcar');

const amt = process.env.SMARTCAR_MANAGEMENT_TOKEN;

const server = http.createServer((req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    const challenge = body.eventName === 'verify' ? body.payload.challenge : body.eventType === 'VERIFY' && body.data.challenge;
    if (challenge) {
      res.setHeader('Content-Type', 'application/json');
      res.end(JSON.stringify({challenge: smartcar.hashChallenge(amt, challenge)}));
      return;
    }
    res.statusCode = smartcar.verifyPayload(amt, req.headers['sc-signature'], body) ? 200 : 401;
    res.end();
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
