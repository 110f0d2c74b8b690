// The page of one agent: asks its own address for what `agent-sync why` says, as JSON, and shows it.

// The paths of an object of fields, without the suffixes of hidden values.
function pathsOf(fields) {
  return Object.keys(fields).map((name) => name.replace(/_(characters|is)$/, (suffix) => (valueOf(fields, name.slice(0, -suffix.length))[1] === "value hidden" ? "" : suffix)));
}

function differences(list) {
  return table(["Field", "Now", "Expected"], list.map((one) => line([
    ["path", breakable(one.path)],
    ["", [make("span", "label", "now "), valueIn(one, "current")]],
    ["", [make("span", "label", "expected "), valueIn(one, "expected")]],
  ])));
}

function fieldsOf(fields) {
  return table(["Field", "Value"], pathsOf(fields).map((path) => line([["path", breakable(path)], ["", valueIn(fields, path)]])));
}

function section(title, ...content) {
  const root = make("section");
  root.append(make("h2", "", title), ...content);
  return root;
}

function stateOf(agent) {
  const pairs = [["Database", agent.database]];
  if (agent.tenant !== undefined) pairs.push(["Tenant", agent.tenant]);
  pairs.push(["Pending", agent.pending ? [whenOf(agent.pending)] : "no"]);
  pairs.push(["Problem", agent.problem ? [`${KINDS[agent.problem.kind] || agent.problem.kind}, since `, whenOf(agent.problem), agent.problem.attempts > 1 ? `, met ${number(agent.problem.attempts)} times` : ""] : "none"]);
  return facts(pairs);
}

function judge({ verdict, problem }) {
  if (verdict === "in_sync" && !problem) return "good";
  return ["rejected", "ambiguous"].includes(verdict) ? "bad" : "fair";
}

function showAgent(agent, alone) {
  const root = make("article");
  if (!alone) root.append(make("h2", judge(agent), `Tenant ${agent.tenant}: ${agent.conclusion}`));
  if (agent.remedy) root.append(notice("", "Remedy", agent.remedy));
  root.append(stateOf(agent));
  for (const one of agent.trouble.filter((one) => one.level === "fail" || one.topic === "daemon")) {
    root.append(notice(one.level === "fail" ? "bad" : "", one.text, one.remedy));
  }
  for (const remark of [...agent.remarks, ...agent.unmapped, ...agent.left_out]) root.append(notice("", remark));
  const many = agent.configurations.length > 1;
  agent.differing.forEach((list, index) =>
    root.append(section(agent.differing.length > 1 ? `Differences of configuration ${index + 1}` : "Differences", differences(list))));
  const sides = make("div", "sides");
  sides.append(section("The agent as saved", agent.agent ? fieldsOf(agent.agent) : make("p", "empty", agent.agents ? "Not shown." : "No agent has this slug.")));
  agent.configurations.forEach((fields, index) =>
    sides.append(section(many ? `Configuration ${index + 1} of ${agent.configurations.length}` : "Its configuration", fieldsOf(fields))));
  if (agent.configurations.length === 0) sides.append(section("Its configuration", make("p", "empty", agent.configured ? "Not shown." : "No configuration has this slug.")));
  root.append(sides);
  root.append(section("Latest writes", ...(agent.history.length ? agent.history.map(write) : [noWrite(agent)])));
  return root;
}

function say(kind, sentence, remedy) {
  setText(byId("verdict"), sentence);
  setClass(byId("verdict"), `verdict ${kind}`);
  byId("agents").replaceChildren(...(remedy ? [notice("", remedy)] : []));
}

async function ask() {
  const button = byId("again");
  button.disabled = true;
  const slug = decodeURIComponent(location.pathname.split("/").slice(3).join("/"));
  setText(byId("agent"), slug);
  document.title = `${slug} · agent-sync`;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "application/json" }, cache: "no-store" });
    const text = await answer.text();
    if (!answer.ok) {
      const [sentence, ...remedy] = text.trim().split("\n");
      say("bad", sentence, remedy.join(" "));
      return;
    }
    const { agents, more } = JSON.parse(text);
    const alone = agents.length === 1;
    if (alone) say(judge(agents[0]), agents[0].conclusion);
    else say("fair", `${more ? "More than " : ""}${plural(agents.length, "tenant has", "tenants have")} an agent with this slug.`);
    byId("agents").replaceChildren(...agents.map((agent) => showAgent(agent, alone)));
  } catch (error) {
    say("bad", "The daemon cannot be reached.", "Ask again when it runs.");
    console.warn(error);
  } finally {
    button.disabled = false;
  }
}

byId("again").addEventListener("click", ask);
ask();
