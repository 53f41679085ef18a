// Calls every public method of Smartcar's client for Node.js, for every car and
// in both unit systems, and prints what came of it as JSON. The origins, the
// credentials and the cars come from the environment.
'use strict';

const smartcar = require('smartcar');

const {env} = process;
const origin = env.SMARTCAR_API_ORIGIN;
const amt = env.SMARTCAR_MANAGEMENT_TOKEN;
const cars = JSON.parse(env.CARS); // {name: id}
const hook = env.WEBHOOK_ID;
const redirectUri = env.SMARTCAR_REDIRECT_URI;

// What was called, by wrapping everything that is public.
const called = {};
function watch(owner, prefix) {
  for (const name of Object.getOwnPropertyNames(owner)) {
    const method = owner[name];
    if (typeof method !== 'function' || /^[A-Z]|^constructor$/.test(name)) {
      continue;
    }
    called[prefix + name] = false;
    owner[name] = function (...args) {
      called[prefix + name] = true;
      return method.apply(this, args);
    };
  }
}
watch(smartcar, '');
watch(smartcar.AuthClient.prototype, 'AuthClient.');
watch(smartcar.Vehicle.prototype, 'Vehicle.');

// holes lists what a program would stumble over in a result.
function holes(value, path = 'result') {
  if (value === undefined) {
    return [`${path} is undefined`];
  }
  if (typeof value === 'number' && Number.isNaN(value)) {
    return [`${path} is NaN`];
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    return [`${path} is an Invalid Date`];
  }
  if (value === null || typeof value !== 'object' || value instanceof Date) {
    return [];
  }
  return Object.entries(value).flatMap(([key, one]) => holes(one, `${path}.${key}`));
}

const calls = [];

// call notes how one call ended. expect says what else is wrong with a result.
async function call(name, run, expect = () => null) {
  const line = {name, error: '', holes: []};
  let result;
  try {
    result = await run();
    line.holes = holes(result);
    const wrong = expect(result);
    if (wrong) {
      line.holes.push(String(wrong));
    }
  } catch (error) {
    line.error = `${error.name} ${error.statusCode ?? ''} ${error.type ?? ''}:${error.code ?? 'null'}`;
    if (error.name !== 'SmartcarError') {
      line.error = `${error.name} ${error.message}`;
    } else if (!error.requestId && !/^invalid_/.test(error.type)) {
      line.holes.push('the error has no request id');
    }
  }
  calls.push(line);
  return result;
}

// login is an owner who consents in a browser.
async function login(client, scope) {
  const url = client.getAuthUrl(scope, {state: 's', flags: {country: 'DE'}, forcePrompt: true, user: 'u'});
  const res = await fetch(url, {method: 'POST', body: new URLSearchParams({decision: 'grant'}), redirect: 'manual'});
  return new URL(res.headers.get('location')).searchParams.get('code');
}

async function appToken() {
  const res = await fetch(`${origin}/oauth2/token`, {method: 'POST', body: new URLSearchParams({
    grant_type: 'client_credentials', client_id: env.SMARTCAR_API_CLIENT_ID, client_secret: env.SMARTCAR_API_CLIENT_SECRET,
  })});
  return (await res.json()).access_token;
}

const success = (r) => (r.status === 'success' ? null : 'no success');
const dated = (r) => (r.meta.dataAge instanceof Date && r.meta.fetchedAt instanceof Date && r.meta.requestId ? null : 'no dates');

const simple = {
  vin: null, charge: dated, battery: dated, batteryCapacity: dated, nominalCapacity: dated, fuel: dated, tirePressure: dated,
  engineOil: dated, odometer: dated, location: dated, attributes: null, permissions: null, lockStatus: dated,
  diagnosticSystemStatus: dated, diagnosticTroubleCodes: dated, getChargeLimit: dated,
  lock: success, unlock: success, startCharge: success, stopCharge: success,
};

const teslaGets = [
  'virtual_key', 'migration', 'status', 'user/access', 'attributes', 'alerts', 'battery', 'charge', 'charge/voltmeter',
  'charge/ammeter', 'charge/wattmeter', 'charge/completion', 'charge/schedule', 'charge/records', 'charge/records/billing',
  'climate/cabin', 'climate/defroster', 'climate/steering_wheel', 'compass', 'speedometer', 'thermometer/exterior', 'thermometer/interior',
];
const teslaPosts = {
  'climate/defroster': {action: 'START'}, 'climate/steering_wheel': {action: 'STOP'},
  'security/trunk': {action: 'OPEN'}, 'security/frunk': {action: 'OPEN'}, 'charge/charge_port_door': {action: 'OPEN'},
  'charge/ammeter': {amperage: 32}, 'charge/schedule': {type: 'START_TIME', enable: true, time: '23:30'}, pin: {pin: '1234'},
};

async function drive(name, id, token, units) {
  const v = new smartcar.Vehicle(id, token, {unitSystem: units, flags: {a: true}});
  const on = (method) => `${name} ${units} ${method}`;
  for (const [method, expect] of Object.entries(simple)) {
    await call(on(method), () => v[method](), expect ?? undefined);
  }
  await call(on('permissions paged'), () => v.permissions({limit: 1, offset: 1}), (r) => (r.permissions.length === 1 ? null : 'no page'));
  await call(on('setChargeLimit'), () => v.setChargeLimit(0.7), success);
  await call(on('sendDestination'), () => v.sendDestination(51.5007, 0.1246), success);
  await call(on('serviceHistory'), () => v.serviceHistory('2020-01-01', '2030-01-01'), (r) => (Array.isArray(r.data) && r.data.length > 0 ? null : 'no records'));
  await call(on('serviceHistory without dates'), () => v.serviceHistory());
  await call(on('subscribe'), () => v.subscribe(hook), (r) => (r.webhookId === hook && r.vehicleId === id ? null : 'no ids'));
  await call(on('subscribe to no id'), () => v.subscribe('webhookID'));
  await call(on('unsubscribe'), () => v.unsubscribe(amt, hook), success);
  await call(on('unsubscribe with a wrong token'), () => v.unsubscribe('amt', hook));
  await call(on('request'), () => v.request('GET', 'odometer'), (r) => (r.body.distance > 0 && r.meta.unitSystem === units ? null : 'no distance'));
  const batch = await call(on('batch'), () => v.batch(['/', '/odometer', '/tires/pressure', '/security', '/charge/limit', '/permissions']),
    (r) => (Object.keys(r).join() === 'attributes,odometer,tirePressure,lockStatus,chargeLimit,permissions' ? null : `has ${Object.keys(r)}`));
  for (const [item, read] of Object.entries(batch ?? {})) {
    await call(on(`batch ${item}`), read);
  }
  await call(on('batch with a misspelled path'), () => v.batch(['/odometer', '/LOCATIONNNNNNNN']));
  for (const path of teslaGets) {
    await call(on(`request tesla/${path}`), () => v.request('GET', `tesla/${path}`));
  }
  await call(on('request POST tesla/climate/cabin'), () => v.request('POST', 'tesla/climate/cabin', {action: 'SET', temperature: units === 'metric' ? 20 : 68}));
  for (const [path, body] of Object.entries(teslaPosts)) {
    await call(on(`request POST tesla/${path}`), () => v.request('POST', `tesla/${path}`, body));
  }
  await call(on('request DELETE tesla/pin'), () => v.request('DELETE', 'tesla/pin'), (r) => success(r.body));
}

async function main() {
  await call('hashChallenge', () => smartcar.hashChallenge('amt', 'challenge'),
    (r) => (r === '9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e' ? null : r));
  await call('verifyPayload', () => smartcar.verifyPayload('amt', '4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70', {pizza: 'pasta'}),
    (r) => (r === true ? null : r));

  const client = new smartcar.AuthClient({redirectUri, mode: 'live'});
  const code = await login(client, undefined);
  let access = await call('exchangeCode', () => client.exchangeCode(code, {flags: {a: true}}));
  await call('exchangeCode again', () => client.exchangeCode(code));
  await call('exchangeCode malformed', () => client.exchangeCode('bad code here'));
  await call('exchangeRefreshToken malformed', () => client.exchangeRefreshToken('bad token here'));
  access = await call('exchangeRefreshToken', () => client.exchangeRefreshToken(access.refreshToken));
  await call('AuthClient with a wrong secret', () => new smartcar.AuthClient({clientSecret: 'wrong'}).exchangeCode(code));
  const token = access.accessToken;

  const user = await call('getUser', () => smartcar.getUser(token));
  await call('getUser with a wrong token', () => smartcar.getUser('token'));
  await call('getVehicles', () => smartcar.getVehicles(token), (r) => (r.vehicles.length === Object.keys(cars).length ? null : 'not all'));
  await call('getVehicles paged', () => smartcar.getVehicles(token, {limit: 2, offset: 1}), (r) => (r.vehicles.length === 2 && r.paging.offset === 1 ? null : 'no page'));
  await call('attributes of no id', () => new smartcar.Vehicle('bad_id', token).attributes());

  smartcar.setApiVersion('99999999.99');
  await call('getVehicles of an unknown version', () => smartcar.getVehicles(token));
  smartcar.setApiVersion('bad');
  await call('getVehicles of a malformed version', () => smartcar.getVehicles(token));
  smartcar.setApiVersion('2.0');
  await call('getApiVersion', () => smartcar.getApiVersion(), (r) => (r === '2.0' ? null : r));

  const scope = ['read_vin', 'read_engine_oil', 'read_battery'];
  await call('getCompatibility', () => smartcar.getCompatibility('5YJ3E1EA2NF000001', scope, 'US', {mode: 'live'}),
    (r) => (r.compatible && r.capabilities.map((c) => c.permission).join() === scope.join() ? null : 'other capabilities'));
  await call('getCompatibility in test mode', () => smartcar.getCompatibility('5YJ3E1EA2NF000001', scope, {testModeCompatibilityLevel: 'bev'}));
  await call('getCompatibilityMatrix', () => smartcar.getCompatibilityMatrix('US', {make: ['TESLA', 'FORD'], scope: ['read_battery'], type: 'BEV'}),
    (r) => (r.TESLA.length > 0 && r.FORD[0].endpoints.includes('EV battery') ? null : 'other makes'));

  // API v3 of this client: what a program can do with it today.
  const id = cars['Model 3'];
  await call('getVehicle with a user token', () => smartcar.getVehicle(token, id));
  const app = await appToken();
  await call('getVehicle', () => smartcar.getVehicle(app, id), (r) => (r.body.data.attributes.make === 'TESLA' ? null : 'no make'));
  const v3 = new smartcar.Vehicle(id, app);
  await call('getSignals', () => v3.getSignals());
  await call('getSignal', () => v3.getSignal('odometer-traveleddistance'));
  await call('request of API v3', () => v3.request('GET', 'signals', null, {'sc-user-id': user.id}, '3'), (r) => (r.body.data.length === 93 ? null : 'not all'));

  for (const [name, car] of Object.entries(cars)) {
    for (const units of ['metric', 'imperial']) {
      await drive(name, car, token, units);
    }
  }

  const all = await call('getConnections', () => smartcar.getConnections(amt, {}, {limit: 2}), (r) => (r.connections.length === 2 ? null : 'no page'));
  await call('getConnections, the next page', () => smartcar.getConnections(amt, {}, {limit: 2, cursor: all.paging.cursor}));
  await call('getConnections of a car', () => smartcar.getConnections(amt, {vehicleId: id}), (r) => (r.connections[0].userId === user.id ? null : 'no user'));
  await call('disconnect', () => new smartcar.Vehicle(id, token).disconnect(), success);
  await call('attributes after disconnect', () => new smartcar.Vehicle(id, token).attributes());
  await call('deleteConnections of a car', () => smartcar.deleteConnections(amt, {vehicleId: cars['Mach-E']}), (r) => (r.connections.length === 1 ? null : 'not one'));
  await call('deleteConnections of a user', () => smartcar.deleteConnections(amt, {userId: user.id}));
  await call('getConnections of nobody', () => smartcar.getConnections(amt), (r) => (r.connections.length === 0 ? null : 'some are left'));

  const uncalled = Object.keys(called).filter((name) => !called[name]);
  process.stdout.write(JSON.stringify({calls, uncalled, public: Object.keys(called)}));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
