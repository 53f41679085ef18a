"use strict";
// The server does not know the owner's time zone: a clock and a day are the browser's.
document.querySelectorAll("time").forEach(function (t) {
  var at = new Date(t.dateTime);
  if (t.classList.contains("day")) {
    t.textContent = at.toLocaleDateString("en", { dateStyle: "long" });
  } else {
    t.textContent = at.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" }) + ", " + t.textContent;
  }
});
