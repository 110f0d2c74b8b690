// What the status page and the page of an agent share.
//
// Values from a database are inserted as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const KINDS = { missing_configuration: "No configuration", rejected: "Rejected", ambiguous: "Ambiguous slug", failed: "Failed" };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setClass(element, className) {
  if (element.className !== className) element.className = className;
}

const number = (value) => value.toLocaleString("en");
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return "under 1 ms";
  if (value < 1) return `${Number((value * 1000).toPrecision(2))} ms`;
  if (value < 90) return `${Number(value.toPrecision(2))} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

const agoOf = (age) => (age < 1.5 ? "just now" : `${seconds(age < 90 ? Math.round(age) : age)} ago`);

function timeElement(time, text) {
  const element = make("time", "", text);
  element.dateTime = time;
  element.title = new Date(time).toLocaleString();
  return element;
}

// Text that may be broken behind the dots and underscores of a name.
function breakable(text) {
  return text.split(/(?<=[._/])/).flatMap((part, index) => (index ? [make("wbr"), part] : [part]));
}

// Text with the parts between backticks as code, of which a button copies a command.
function marked(text) {
  return text.split("`").map((part, index) => {
    if (index % 2 === 0) return part;
    if (!part.includes(" ")) return make("code", "", part);
    const root = make("span", "command");
    const button = make("button", "copy", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy ${part}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(part);
      setText(button, "Copied");
      setTimeout(() => setText(button, "Copy"), 2000);
    });
    root.append(make("code", "", part), " ", button);
    return root;
  });
}

function notice(kind, what, remedy, time) {
  const element = make("div", `notice ${kind}`);
  const title = make("b");
  title.append(...marked(what));
  element.append(title, ...marked(remedy || ""));
  if (time) element.append(" (", time, ")");
  return element;
}

function facts(pairs) {
  const list = make("dl");
  for (const [term, value] of pairs) {
    const pair = make("div");
    const description = make("dd");
    description.append(...[value].flat());
    pair.append(make("dt", "", term), description);
    list.append(pair);
  }
  return list;
}

function line(cells) {
  const row = make("tr");
  for (const [className, content] of cells) {
    const cell = make("td", className);
    cell.append(...[content].flat());
    row.append(cell);
  }
  return row;
}

// The value of a member that may be hidden: a prompt comes as its length, a text that may be a
// secret as a description.
function valueOf(object, name) {
  if (name in object) return [JSON.stringify(object[name]), "value"];
  if (`${name}_characters` in object) return [plural(object[`${name}_characters`], "character", "characters"), "value hidden"];
  if (`${name}_is` in object) return [object[`${name}_is`], "value hidden"];
  return ["not set", "value unset"];
}

const whenOf = ({ since, seconds: age }) => timeElement(since, agoOf(age));

function valueIn(object, name) {
  const [text, className] = valueOf(object, name);
  return make("span", className, text);
}

function table(heads, rows) {
  const root = make("table", heads.length > 2 ? "fields three" : "fields");
  const head = make("tr");
  for (const text of heads) {
    const cell = make("th", "", text);
    cell.scope = "col";
    head.append(cell);
  }
  root.append(make("thead"), make("tbody"));
  root.tHead.append(head);
  root.tBodies[0].append(...rows);
  return root;
}

// Where the history of an agent has no write.
function noWrite({ history_enabled: isNoted }) {
  return make("p", "empty", `No write is noted.${isNoted ? "" : " The setting history.enabled = true notes each one, with its cause."}`);
}

// A write of the history: when, by whom, and each field before and after.
function write(one) {
  const { application_name, role, columns, differences: changed } = one;
  const root = make("div", "write");
  const by = application_name ? ` by ${application_name}` : "";
  const as = role ? ` as ${role}` : "";
  const head = make("p", "");
  head.append(whenOf(one), `${by}${as}: ${columns.join(", ")}`);
  root.append(head);
  if (changed.length) {
    root.append(table(["Field", "Before", "After"], changed.map((one) => line([
      ["path", breakable(one.path)],
      ["", [make("span", "label", "before "), valueIn(one, "current")]],
      ["", [make("span", "label", "after "), valueIn(one, "expected")]],
    ]))));
  }
  return root;
}
