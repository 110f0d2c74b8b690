// The status page: reads /status every few seconds and shows it. Unchanged elements are not touched,
// so the selection, the focus and opened databases stay.

const DETAILS = {
  connecting: "connecting for the first time",
  standby: "another daemon leads",
  catching_up: "catching up with what was saved before",
};
const TIMEOUT = 5000;

// The time between two questions, in seconds: many databases are asked for less often.
const interval = () => (latest && latest.databases.length > 20 ? 10 : 2);

let latest = null; // The last answer.
let reached = null; // The time of the last answer.
let timer = 0;

function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  return element;
}

const total = (items, pick) => items.reduce((sum, item) => sum + pick(item), 0);
const atLeast = (count, more) => (more ? `${number(count)}+` : number(count));

// Ages are computed with the daemon's clock; the clock of this machine may be wrong.
const ago = (time) => agoOf((Date.parse(latest.now) - Date.parse(time)) / 1000);
const timeOf = (time) => timeElement(time, ago(time));

function refreshTimes() {
  for (const element of document.querySelectorAll("time")) setText(element, ago(element.dateTime));
}

// Calls `fill` if the data differs from the last call.
function whenChanged(element, data, fill) {
  const key = JSON.stringify(data);
  if (element.shown === key) return;
  element.shown = key;
  fill();
}

// The databases -------------------------------------------------------------------------------------------------------

const rows = new Map();

function problemsOf(database) {
  const problems = database.problems;
  return problems ? problems.missing_configuration + problems.rejected + problems.ambiguous + problems.failed : 0;
}

const differ = (count) => plural(count, "configuration differs", "configurations differ");

// Configurations that differ by the last comparison, which no problem explains.
const differingIn = (database) => (database.compared ? database.compared.differing : 0);

function judge(database) {
  if (!database.live || ["broken", "unreachable"].includes(database.state)) return "bad";
  return database.ready && !database.pause && problemsOf(database) === 0 && database.findings.length === 0 ? "good" : "fair";
}

// The state, in the words of the command `status`, and what it means here.
function stateOf(database) {
  const { state, phase } = database;
  if (!database.live) return "broken: hangs, no progress";
  if (state === "broken" && database.leader) return "broken: may be missing changes";
  if (state === "busy" && phase === "waiting") return "busy: some changes are left and will be tried again, such as locked ones";
  const [count, differing, findings] = [problemsOf(database), differingIn(database), database.findings.length];
  const drift = differing ? `, and ${differ(differing)}` : "";
  if (state === "ok" && count) return `ok, but ${atLeast(count, database.problems.at_least)} ${count === 1 ? "agent" : "agents"} not in sync${drift}`;
  if (state === "ok" && differing) return `ok, but ${differ(differing)}`;
  if (state === "ok" && findings) return `ok, with ${plural(findings, "warning", "warnings")}`;
  return state in { busy: 0, standby: 0 } && DETAILS[phase] ? `${state}: ${DETAILS[phase]}` : state;
}

function newRow() {
  const row = { root: make("details"), parts: {} };
  const summary = make("summary");
  const add = (name, tag, className) => summary.appendChild((row.parts[name] = make(tag, className)));
  add("dot", "span", "dot").setAttribute("aria-hidden", "true");
  add("name", "span", "name");
  add("state", "span", "state");
  for (const name of ["waits", "problems", "latency"]) add(name, "span", name === "problems" ? "figure short" : "figure");
  row.body = make("div", "body");
  add("open", "span", "open").setAttribute("aria-hidden", "true");
  row.root.append(summary, row.body);
  return row;
}

function figure(element, value, label, className) {
  whenChanged(element, [value, label, className], () => {
    element.replaceChildren(make("span", className || "", value), make("small", "", label));
  });
}

// A daemon, as `status` names it.
const daemonOf = ({ host, pid, program }) => `${host || "local"}/${pid} (${program})`;

// Whether the daemon has run for less than the hour of the charts, and the time that they are about.
const isYoung = () => Date.parse(latest.now) - Date.parse(latest.started_at) < 3600 * 1000;
const charted = () => (isYoung() ? "since the daemon began" : "in the last hour");

// Whether another daemon leads the database, and knows more of it.
const standsBy = ({ connected, leader, pause }) => connected && !leader && !pause;

// What a database without numbers of the last hour means: only the daemon that leads knows of saves.
function silenceOf(database) {
  if (database.leader) return `This daemon has met no save ${isYoung() ? "since it began" : "in the last hour"}.`;
  if (database.pause) return "Saves are noted, and applied after the pause.";
  if (standsBy(database)) return "What was saved is known to the daemon that leads.";
  return "Without a connection, it is not known whether something was saved.";
}

function auditOf({ at, in_sync, drifted, unmapped }) {
  return [timeOf(at), `: ${number(in_sync)} in sync, ${number(drifted)} drifted, ${number(unmapped)} with a setting that no rule reads`];
}

function fillBody(body, database) {
  const notices = database.not_ready
    .filter(() => !["connecting", "catching_up"].includes(database.phase))
    .map((reason) => notice("bad", reason.reason, reason.remedy));
  const others = database.findings
    .filter((found) => !found.misses_changes)
    .map((found) => notice("", found.finding, found.remedy, timeOf(found.since)));
  if (database.pause) {
    const { by, until, reason, since } = database.pause;
    const parts = [`By ${by}`, until ? `until ${new Date(until).toLocaleString()}` : "", reason ? `because: ${reason}` : ""];
    const how = `${parts.filter(Boolean).join(", ")}. Changes are noted and not applied. \`agent-sync resume\` ends the pause.`;
    others.unshift(notice("", "The database is paused. ", how, timeOf(since)));
  }
  const { listed, more } = database.unmapped;
  if (listed.length) {
    const remarks = listed.slice(0, 20).map((one) => one.remark);
    if (listed.length > 20) remarks.push(`and ${more ? "at least " : ""}${number(listed.length - 20 + (more ? 1 : 0))} more`);
    others.push(notice("", "Voice settings that no rule reads: ", `${remarks.join(". ")}. \`agent-sync check --unmapped\` counts them.`));
  }
  const before = database.connected && database.last_error
    ? [["Last error", [`${database.last_error.cause} (`, timeOf(database.last_error.at), ")"]]]
    : [];
  const list = facts([
    ["Where", database.target],
    ["PostgreSQL", database.server_version || "not known yet"],
    ["Role", database.leader ? `this daemon leads${database.leader_pid ? ` (process ${database.leader_pid} of the server)` : ""}` : database.pause ? "none during the pause" : standsBy(database) ? "stands by" : "not connected"],
    ...(database.standbys ? [["Standing by", database.standbys.map(daemonOf).join(", ") || "no daemon"]] : []),
    ...(database.led_by ? [["Led by", daemonOf(database.led_by)]] : []),
    // A task that hangs is broken since a time that is not known.
    ...(database.live ? [["State", [`${database.state} since `, timeOf(database.state_since)]]] : []),
    ["Last audit", database.audit ? auditOf(database.audit) : "none yet"],
    ["Last sync", database.last_sync_at ? timeOf(database.last_sync_at) : "none yet"],
    ["Reconnects", number(database.reconnects)],
    ["Outages", database.outage_seconds > 0 ? seconds(database.outage_seconds) : "none"],
    ...before,
  ]);
  const quiet = database.hour.every((minute) => minute.synced + minute.unchanged + minute.failed + minute.missing + minute.rejected === 0);
  const charts = quiet ? make("p", "empty", silenceOf(database)) : make("div", "charts");
  if (!quiet) charts.append(throughput(database), latencies(database));
  body.replaceChildren(...notices, ...others, charts, list);
}

function showDatabases(databases) {
  const order = { bad: 0, fair: 1, good: 2 };
  const sorted = [...databases].sort((a, b) => order[judge(a)] - order[judge(b)] || a.name.localeCompare(b.name));
  const few = databases.length <= 3;
  for (const database of sorted) {
    let row = rows.get(database.name);
    if (!row) {
      row = newRow();
      rows.set(database.name, row);
      row.root.open = few;
    }
    const { parts } = row;
    const verdict = judge(database);
    // A fault opens the details of a database once. The operator can close them again.
    if (verdict === "bad" && row.verdict !== "bad") row.root.open = true;
    row.verdict = verdict;
    row.database = database;
    setClass(parts.dot, `dot ${verdict}`);
    setText(parts.name, database.name);
    setText(parts.state, stateOf(database));
    setClass(parts.state, verdict === "bad" ? "state bad" : "state");
    const { outbox, problems } = database;
    figure(parts.waits, outbox ? atLeast(outbox.rows, outbox.at_least) : "–", "waiting");
    const count = problemsOf(database) + differingIn(database);
    figure(parts.problems, problems ? atLeast(count, problems.at_least) : "–", "not in sync", count ? "fair" : "");
    figure(parts.latency, seconds(database.latency.last_hour.p99_seconds), "99% within");
    if (row.root.open) fillIfChanged(row);
    row.root.ontoggle = () => fillIfChanged(row);
  }
  const names = new Set(databases.map((database) => database.name));
  for (const [name, row] of rows) if (!names.has(name) && rows.delete(name)) row.root.remove();
  byId("databases").className = databases.length > 8 ? "many" : "";
  // Elements are moved only if the order changed, because a moved element loses the focus.
  const list = byId("databases");
  sorted.forEach(({ name }, index) => {
    const { root } = rows.get(name);
    if (list.children[index] !== root) list.insertBefore(root, list.children[index] || null);
  });
}

function fillIfChanged(row) {
  const { outage_seconds, outbox, wakeups, ...shown } = row.database;
  const rounded = { ...shown, outage: seconds(outage_seconds), young: isYoung(), changes: 0, problems: 0 };
  whenChanged(row.body, rounded, () => fillBody(row.body, row.database));
}

// The charts ----------------------------------------------------------------------------------------------------------

const WIDTH = 600;
const HEIGHT = 72;
const MINUTES = 60;

function chart(title, note, label, minutes) {
  const root = make("div", "chart");
  const head = make("p", "");
  head.append(make("span", "", title), note);
  const picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  picture.append(draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, "vector-effect": "non-scaling-stroke" }));
  const before = place(0, minutes);
  if (before > 0) {
    const area = draw("rect", { class: "before", x: 0, y: 0, width: before, height: HEIGHT });
    tip(area, "before the daemon began");
    picture.append(area);
  }
  const axis = make("p", "scale");
  axis.append(make("span", "", "60 minutes ago"), make("span", "", "now"));
  root.append(head, picture, axis);
  return { root, picture };
}

// A text that a browser shows at the pointer.
function tip(area, text) {
  const title = draw("title", {});
  title.textContent = text;
  area.append(title);
}

// The values of each minute, as such texts.
function tips(picture, minutes, textOf) {
  minutes.forEach((minute, index) => {
    const area = draw("rect", { class: "tip", x: place(index, minutes), y: 0, width: WIDTH / MINUTES, height: HEIGHT });
    tip(area, `${new Date(minute.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}: ${textOf(minute)}`);
    picture.append(area);
  });
}

// The left edge of a minute; the running minute is at the right.
const place = (index, minutes) => ((MINUTES - minutes.length + index) * WIDTH) / MINUTES;

function keys(...words) {
  const root = make("span");
  for (const [className, word] of words) root.append(make("span", `key ${className}`, word));
  return root;
}

function throughput(database) {
  const minutes = database.hour;
  const parts = [
    ["done", (minute) => minute.synced],
    ["same", (minute) => minute.unchanged],
    ["trouble", (minute) => minute.missing + minute.rejected + minute.failed],
  ];
  const all = (minute) => total(parts, ([, pick]) => pick(minute));
  const most = Math.max(...minutes.map(all), 1);
  const sums = parts.map(([, pick]) => total(minutes, pick));
  const label = `Agents ${charted()}: ${number(sums[0])} written, ${number(sums[1])} in sync already, ${number(sums[2])} met a problem; at most ${number(most)} a minute.`;
  const note = keys(["", `${number(sums[0])} written`], ["pale", `${number(sums[1])} in sync already`], ["warn", `${number(sums[2])} met a problem`]);
  const { root, picture } = chart(`${isYoung() ? "Since the daemon began" : "Last hour"}, at most ${number(most)} a minute`, note, label, minutes);
  minutes.forEach((minute, index) => {
    let top = HEIGHT;
    for (const [className, pick] of parts) {
      const value = pick(minute);
      if (value === 0) continue;
      const height = Math.max((value / most) * (HEIGHT - 4), 1.5);
      top -= height;
      picture.append(draw("rect", { class: className, x: place(index, minutes) + 1, y: top, width: WIDTH / MINUTES - 2, height }));
    }
  });
  tips(picture, minutes, (minute) => parts.map(([, pick], index) => `${number(pick(minute))} ${["written", "in sync already", "met a problem"][index]}`).join(", "));
  return root;
}

function latencies(database) {
  const minutes = database.hour;
  const { p50_seconds: half, p99_seconds: most, count } = database.latency.last_hour;
  const label = count
    ? `From a save to its configuration ${charted()}: half within ${seconds(half)}, 99 of 100 within ${seconds(most)}.`
    : `From a save to its configuration: no save was met ${charted()}.`;
  const note = count ? keys(["", `half within ${seconds(half)}`], ["pale", `99% within ${seconds(most)}`]) : make("span", "", "no save");
  const highest = Math.max(...minutes.map((minute) => minute.p99_seconds || 0));
  const { root, picture } = chart(`From save to sync, at most ${seconds(highest)}`, note, label, minutes);
  for (const [className, field] of [["most", "p99_seconds"], ["half", "p50_seconds"]]) {
    // A minute without saves is a gap and not a zero; a minute between two gaps is a short dash.
    let path = "";
    let pen = false;
    minutes.forEach((minute, index) => {
      if (minute[field] === null) return void (pen = false);
      const x = place(index, minutes) + WIDTH / MINUTES / 2;
      const y = HEIGHT - 3 - (minute[field] / highest) * (HEIGHT - 8);
      path += pen ? `L${x} ${y}` : `M${x - 3} ${y}L${x + 3} ${y}`;
      pen = true;
    });
    if (path) picture.append(draw("path", { class: className, d: path }));
  }
  tips(picture, minutes, (minute) => (minute.p50_seconds === null ? "no save" : `half within ${seconds(minute.p50_seconds)}, 99% within ${seconds(minute.p99_seconds)}`));
  return root;
}

// The tables ----------------------------------------------------------------------------------------------------------

function reasonOf({ kind, detail }) {
  return kind === "missing_configuration" ? detail.replace(/^n/, "N") : `${KINDS[kind] || kind}: ${detail}`;
}

function nameOf({ tenant, slug }) {
  return tenant === undefined ? slug : `${tenant}/${slug}`;
}

// The address of the page of an agent, where it is served.
function pageOf({ database, tenant, slug }) {
  if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) return null;
  return `/agents/${encodeURIComponent(database)}/${encodeURIComponent(slug)}${tenant === undefined ? "" : `?tenant=${encodeURIComponent(tenant)}`}`;
}

// The name of an agent, as a link to its page.
function linkTo(agent) {
  const text = nameOf(agent);
  const page = pageOf(agent);
  if (!page) return text;
  const link = make("a");
  link.href = page;
  link.append(...breakable(text));
  return link;
}

// How much of each list is shown, which grows with each "Show more".
const STEP = 20;
const lengths = new Map();
const lengthOf = (list) => lengths.get(list) || STEP;

function showMore(list, all) {
  const button = make("button", "more", `Show more of ${number(all)}`);
  button.type = "button";
  button.addEventListener("click", () => {
    lengths.set(list, lengthOf(list) + 5 * STEP);
    show();
  });
  return button;
}

// Problems with one reason in one database, the latest first.
function groupsOf(problems) {
  const groups = new Map();
  for (const problem of problems) {
    const key = JSON.stringify([problem.database, problem.kind, reasonOf(problem)]);
    if (!groups.has(key)) groups.set(key, { key, agents: [] });
    groups.get(key).agents.push(problem);
  }
  return [...groups.values()];
}

function groupRow({ key, agents }) {
  const [first] = agents;
  const names = agents.slice(0, lengthOf(key)).flatMap((problem, index) => (index ? [", ", linkTo(problem)] : [linkTo(problem)]));
  if (agents.length > lengthOf(key)) names.push(" ", showMore(key, agents.length));
  const remedy = make("span", "remedy");
  const same = agents.every((problem) => problem.remedy === first.remedy);
  remedy.append(...marked(same ? first.remedy : `${nameOf(first)}: ${first.remedy}`));
  return line([
    ["", names],
    ["in", breakable(first.database)],
    ["", [make("span", "why", reasonOf(first)), remedy]],
    ["", timeOf(first.since)],
  ]);
}

function showProblems(databases) {
  const [text, kind, name] = [byId("search").value.trim().toLowerCase(), byId("kind").value, byId("in").value];
  const all = databases.flatMap((database) =>
    (database.problems ? database.problems.listed : []).map((problem) => ({ ...problem, database: database.name })));
  const textOf = (problem) =>
    [nameOf(problem), problem.database, KINDS[problem.kind], reasonOf(problem), problem.detail, problem.remedy, problem.sqlstate || ""].join("\n");
  const fits = (problem) =>
    (!kind || problem.kind === kind) && (!name || problem.database === name) && (!text || textOf(problem).toLowerCase().includes(text));
  const shown = all.filter(fits).sort((a, b) => b.since.localeCompare(a.since));
  const count = total(databases, problemsOf);
  const more = databases.some((database) => database.problems && database.problems.at_least);
  const differing = total(databases, differingIn);
  setText(byId("problems-count"), count + differing ? atLeast(count + differing, more) : "");
  const known = databases.some((database) => database.problems);
  byId("filters").hidden = all.length === 0;
  byId("problems").hidden = shown.length === 0;
  let none = "";
  if (shown.length === 0 && all.length > 0) none = "No listed agent matches the filter.";
  else if (all.length === 0) none = known ? "No agent has a problem." : "Only the daemon that leads reports this.";
  else if (shown.length < count) none = `${number(shown.length)} of ${atLeast(count, more)} listed: the latest of each kind, the latest first.`;
  const drifted = differing ? ` ${differ(differing)} by the last audit: \`agent-sync check\` lists them.` : "";
  whenChanged(byId("problems-none"), [none, drifted], () => byId("problems-none").replaceChildren(...marked((none + drifted).trim())));
  const groups = groupsOf(shown);
  const body = byId("problems").tBodies[0];
  whenChanged(body, [shown, [...lengths]], () => {
    body.replaceChildren(...groups.slice(0, lengthOf("problems")).map(groupRow));
    byId("problems-more").replaceChildren(...(groups.length > lengthOf("problems") ? [showMore("problems", groups.length)] : []));
  });
}

// The writes that were asked for, by their change: they stay when the list changes.
const told = new Map();
const MOST_WRITES = 3;

// A button that asks for the cause and the values of a write, which the page of the agent has.
function writesOf(change) {
  const key = JSON.stringify([change.database, change.tenant, change.slug, change.at]);
  if (told.has(key)) return told.get(key);
  const root = make("div", "writes");
  const button = make("button", "more", "Before and after");
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    told.set(key, root);
    let parts;
    try {
      const answer = await fetch(pageOf(change), { headers: { Accept: "application/json" }, cache: "no-store" });
      const text = await answer.text();
      const agents = answer.ok ? JSON.parse(text).agents : [];
      const writes = agents.flatMap((agent) => agent.history);
      parts = writes.slice(0, MOST_WRITES).map(write);
      if (!writes.length) parts = [agents.length ? noWrite(agents[0]) : make("p", "empty", text.split("\n")[0])];
    } catch (error) {
      console.warn(error);
      button.disabled = false;
      parts = [button, make("p", "empty", "The daemon cannot be reached.")];
    }
    root.replaceChildren(...parts);
  });
  root.append(button);
  return root;
}

function showChanges(databases) {
  const all = databases.flatMap((database) => database.changes.map((change) => ({ ...change, database: database.name })));
  const shown = all.sort((a, b) => b.at.localeCompare(a.at));
  byId("changes").hidden = shown.length === 0;
  const others = databases.some(standsBy) ? " A daemon that leads lists its changes on its own page." : "";
  setText(byId("changes-none"), shown.length === 0 ? `This daemon has written nothing since it began.${others}` : "");
  const body = byId("changes").tBodies[0];
  whenChanged(body, [shown, lengthOf("changes")], () => {
    if (told.size > 100) told.clear();
    body.replaceChildren(...shown.slice(0, lengthOf("changes")).map((change) => line([
      ["", linkTo(change)],
      ["in", breakable(change.database)],
      change.outcome === "written" ? ["", pageOf(change) ? [change.columns.join(", "), writesOf(change)] : change.columns.join(", ")] : ["fair", `nothing: ${(KINDS[change.outcome] || change.outcome).toLowerCase()}`],
      ["", timeOf(change.at)],
    ])));
    byId("changes-more").replaceChildren(...(shown.length > lengthOf("changes") ? [showMore("changes", shown.length)] : []));
  });
}

function showChoices(databases) {
  const choice = byId("in");
  const names = databases.map((database) => database.name);
  whenChanged(choice, names, () => {
    const chosen = choice.value;
    choice.replaceChildren(new Option("Every database", ""), ...names.map((name) => new Option(name, name)));
    choice.value = names.includes(chosen) ? chosen : "";
  });
  choice.hidden = names.length < 2;
  document.body.classList.toggle("one", names.length < 2);
}

// The page ------------------------------------------------------------------------------------------------------------

function verdictOf({ databases }) {
  const bad = databases.filter((database) => judge(database) === "bad").length;
  const starting = databases.filter((database) => judge(database) !== "bad" && !database.ready).length;
  const count = total(databases, problemsOf);
  const more = databases.some((database) => database.problems && database.problems.at_least);
  const them = databases.length === 1 ? "The database" : `All ${databases.length} databases`;
  if (bad && databases.length === 1) return ["bad", "The database needs attention."];
  if (bad) return ["bad", `${bad} of ${databases.length} databases need${bad === 1 ? "s" : ""} attention.`];
  if (starting) return ["fair", `${plural(starting, "database is", "databases are")} being brought in sync.`];
  const paused = databases.filter((database) => database.pause).length;
  if (paused) return ["fair", databases.length === 1 ? "The database is paused." : `${plural(paused, "database is", "databases are")} paused.`];
  const differing = total(databases, differingIn);
  const problems = `${atLeast(count, more)} ${count === 1 ? "agent is" : "agents are"} not in sync`;
  if (count) return ["fair", differing ? `${problems}, and ${differ(differing)}.` : `${problems}.`];
  if (differing) return ["fair", `${differ(differing)} from ${differing === 1 ? "its agent" : "their agents"}.`];
  const warned = databases.filter((database) => database.findings.length).length;
  if (warned) return ["fair", `${databases.length === 1 ? "The database has" : plural(warned, "database has", "databases have")} ${plural(total(databases, (database) => database.findings.length), "warning", "warnings")}.`];
  if (databases.every((database) => database.state === "standby")) return ["good", `${them} ${databases.length === 1 ? "is" : "are"} led by another daemon.`];
  // Before the first audit, the number is that of the server's statistics.
  const numberOf = ({ audit, agents_estimate: estimate }) => (audit ? audit.agents : estimate);
  const known = databases.every((database) => numberOf(database) !== null);
  const about = databases.every((database) => database.audit) ? "" : "about ";
  const agents = known ? `: ${about}${plural(total(databases, numberOf), "agent", "agents")}` : "";
  return ["good", `${them} ${databases.length === 1 ? "is" : "are"} up to date${agents}.`];
}

function show() {
  const { databases } = latest;
  showVerdict(...verdictOf(latest));
  setText(byId("version"), latest.version);
  setText(byId("clock"), `running for ${seconds((Date.parse(latest.now) - Date.parse(latest.started_at)) / 1000)}`);
  showChoices(databases);
  showDatabases(databases);
  showProblems(databases);
  showChanges(databases);
  refreshTimes();
  byId("content").hidden = false;
}

function showVerdict(kind, sentence) {
  setText(byId("verdict"), sentence);
  setClass(byId("verdict"), `verdict ${kind}`);
  document.title = `${{ good: "✓", fair: "•", bad: "✗" }[kind]} agent-sync`;
}

function showReachable(reachable) {
  document.body.classList.toggle("stale", !reachable);
  byId("unreachable").hidden = reachable;
  if (reachable) return;
  showVerdict("bad", "The daemon cannot be reached.");
  const shown = reached ? `What is shown is of ${reached.toLocaleTimeString()}. ` : "";
  setText(byId("unreachable"), `${shown}The page tries again every ${interval()} seconds.`);
}

// The URL of /status with the lengths of the lists, which shrink as the number of databases grows.
function question() {
  const databases = latest ? latest.databases.length || 1 : 1;
  const share = (all, least) => Math.max(Math.floor(all / databases), least);
  return `/status?problems=${Math.min(share(1000, 20), 1000)}&changes=${Math.min(share(200, 10), 50)}`;
}

async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  const giveUp = new AbortController();
  const timeout = setTimeout(() => giveUp.abort(), TIMEOUT);
  try {
    const answer = await fetch(question(), { signal: giveUp.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    latest = await answer.json();
    reached = new Date();
    showReachable(true);
    show();
  } catch (error) {
    showReachable(false);
    console.warn(error);
  } finally {
    clearTimeout(timeout);
    clearTimeout(timer);
    timer = setTimeout(ask, interval() * 1000);
  }
}

byId("filters").addEventListener("input", () => latest && showProblems(latest.databases));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", ask);
ask();
