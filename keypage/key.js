"use strict";
(function () {
  var news = document.getElementById("news");
  var source = null;

  function page() { return document.getElementById("page"); }

  function close() {
    if (source) { source.close(); }
    source = null;
  }

  // The page says what is so; the stream only says when to look.
  function look() {
    fetch(location.href, { credentials: "same-origin", cache: "no-store" }).then(function (answer) {
      if (!answer.ok) { throw new Error(answer.statusText); }
      return answer.text();
    }).then(function (text) {
      var shown = new DOMParser().parseFromString(text, "text/html");
      var fresh = shown.getElementById("page");
      if (!fresh) { return; }
      var old = page();
      var before = old.querySelectorAll(".added").length;
      var focused = old.contains(document.activeElement);
      document.title = shown.title;
      old.replaceWith(document.importNode(fresh, true));
      if (focused) { page().querySelector("h1").focus(); }
      var done = page().dataset.done;
      if (!page().dataset.events) {
        close();
        var help = document.querySelector(".help");
        if (help) { help.remove(); }
      }
      if (done) {
        news.textContent = news.dataset.forwarding;
        setTimeout(function () { location.assign(done); }, 3000);
      } else if (page().querySelectorAll(".added").length > before) {
        news.textContent = news.dataset.changed;
      }
    }).catch(function () { /* the owner can still load the page again */ });
  }

  function listen() {
    var address = page().dataset.events;
    if (source || !address || !window.EventSource) { return; }
    source = new EventSource(address);
    source.addEventListener("added", look);
    source.addEventListener("end", function () {
      close();
      var promise = document.querySelector(".waiting");
      if (promise) { promise.hidden = true; } // nothing changes by itself any more
    });
  }

  // Back from the Tesla app: a phone may have cut the stream meanwhile.
  document.addEventListener("visibilitychange", function () {
    if (document.visibilityState !== "visible" || !page().dataset.events) { return; }
    if (!source || source.readyState === EventSource.CLOSED) {
      source = null;
      look();
      listen();
    }
  });
  listen();
})();
