// Keeps the numbers fresh; when a run has ended, the champion is another or a project came, the page is loaded anew.
"use strict";

const EVERY_MS = 3000;
let lastSeen = null;

function show(article, now) {
  const part = (name) => article.querySelector(`[data-of="${name}"]`);
  for (const name of ["corrected", "of_seen", "next_milestone", "served"]) part(name).textContent = now[name] ?? "–";
  part("way").style.width = `${100 * now.progress}%`;
  part("run").hidden = !now.run;
  if (!now.run) return;
  const percent = Math.round(100 * now.run.fraction);
  part("run-stage").textContent = now.run.stage || now.run.state;
  part("run-message").textContent = now.run.message;
  part("run-percent").textContent = `${percent} %`;
  part("run-bar").style.width = `${percent}%`;
}

async function refresh() {
  const answer = await fetch("job_status", { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const { projects } = await answer.json();
  const seen = JSON.stringify(projects.map((p) => [p.project, p.shown]));
  if (lastSeen !== null && seen !== lastSeen) return location.reload();
  lastSeen = seen;
  for (const now of projects) {
    const article = document.querySelector(`[data-project="${now.project}"]`);
    if (article) show(article, now);
  }
}

for (const time of document.querySelectorAll("time")) {
  time.textContent = new Date(time.dateTime)
    .toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

// The next only after an answer: a server that is slow is not asked for more than it gives.
async function keepFresh() {
  await refresh().catch(() => {});
  setTimeout(keepFresh, EVERY_MS);
}

keepFresh();
