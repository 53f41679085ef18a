"use strict";
(function () {
  var news = document.getElementById("news");
  var source = null;
  var going = false;
  var planned = null;
  var failures = 0;
  var began = 0; // when the stream was opened
  var came = false; // a key, on this stream

  function page() { return document.getElementById("page"); }

  function close() {
    if (source) { source.close(); }
    source = null;
  }

  // nameOf tells what is unfolded from one page to the next. The line that cars are
  // folded into has their number in it, which changes.
  function nameOf(details) {
    var ask = details.closest(".ask");
    return ask ? ask.querySelector("a.button").href : "rest";
  }

  // The day is the owner's, in the language of the page.
  function writeDates() {
    document.querySelectorAll("time").forEach(function (t) {
      try {
        t.textContent = new Date(t.dateTime).toLocaleDateString(document.documentElement.lang, { dateStyle: "long" });
      } catch (_) { /* a language that the browser does not know: the server's date stays */ }
    });
  }

  function show(shown, fresh) {
    var old = page();
    var before = old.querySelectorAll(".added").length;
    var focused = old.contains(document.activeElement);
    var unfolded = Array.from(old.querySelectorAll("details[open]"), nameOf);
    document.title = shown.title;
    old.replaceWith(document.importNode(fresh, true));
    document.getElementById("bar").replaceWith(document.importNode(shown.getElementById("bar"), true));
    writeDates();
    page().querySelectorAll("details").forEach(function (d) { d.open = unfolded.includes(nameOf(d)); });
    if (focused) { page().querySelector("h1").focus(); }
    if (!page().dataset.events) {
      close();
      var help = document.querySelector(".help");
      if (help) { help.remove(); }
    }
    later(); // a car that the stream did not know of may be left
    var done = page().dataset.done;
    if (done && !going) {
      going = true;
      news.textContent = news.dataset.forwarding;
      setTimeout(function () { location.assign(done); }, 3000);
    } else if (!done && page().querySelectorAll(".added").length > before) {
      news.textContent = news.dataset.changed;
    }
  }

  // The page says what is so; the stream only says when to look.
  function look(tries) {
    fetch(location.href, { credentials: "same-origin", cache: "no-store" }).then(function (answer) {
      if (!answer.ok) { throw new Error(answer.statusText); }
      return answer.text();
    }).then(function (text) {
      var shown = new DOMParser().parseFromString(text, "text/html");
      var fresh = shown.getElementById("page");
      if (fresh) { show(shown, fresh); }
    }).catch(function () {
      // The owner can still load the page again.
      if (tries > 1) {
        setTimeout(function () { look(tries - 1); }, 5000);
      } else {
        later();
      }
    });
  }

  // Nothing changes by itself any more, so the page must not say so.
  function giveUp() {
    close();
    var promise = document.querySelector(".waiting");
    if (promise) { promise.hidden = true; }
  }

  // A browser comes back by itself after a lost connection, but not after an
  // answer such as the 502 of a proxy whose program is being replaced.
  function refused() {
    if (!source || source.readyState !== EventSource.CLOSED) { return; }
    source = null;
    later();
  }

  // later looks and listens again, ever more rarely, if nobody does.
  function later() {
    if (source || planned || !page().dataset.events) { return; }
    if (Date.now() - began > 60000) { failures = 0; }
    failures++;
    if (failures > 10) {
      giveUp();
      return;
    }
    planned = setTimeout(function () {
      planned = null;
      if (source || !page().dataset.events) { return; }
      listen();
      look(1);
    }, Math.min(5000 * Math.pow(2, failures - 1), 300000));
  }

  function listen() {
    var address = page().dataset.events;
    if (source || !address || !window.EventSource) { return; }
    source = new EventSource(address);
    began = Date.now();
    came = false;
    source.addEventListener("error", refused);
    source.addEventListener("added", function () {
      came = true;
      look(3);
    });
    source.addEventListener("end", function () {
      close();
      if (came) { look(3); } else { giveUp(); }
    });
  }

  // Back from the Tesla app: a phone may have cut the stream meanwhile.
  document.addEventListener("visibilitychange", function () {
    if (document.visibilityState !== "visible" || !page().dataset.events) { return; }
    if (!source || source.readyState === EventSource.CLOSED) {
      source = null;
      look(3);
      listen();
    }
  });
  writeDates();
  listen();
})();
