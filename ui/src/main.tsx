// The beginning: who is logged in, and which page is meant.
import "./style.css";
import { render, type ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, onLoggedOut, Refused, send, type Problem } from "./api";
import { Login } from "./login";
import { Empty, Head, problemOf, Trouble, Wait } from "./pieces/basic";
import { href, useRoute } from "./route";
import { Shell, useScheme, type Who } from "./shell";
import { Agent } from "./pages/agent";
import { Compare } from "./pages/compare";
import { Doctor } from "./pages/doctor";
import { Keys } from "./pages/keys";
import { Nodes } from "./pages/nodes";
import { Overview } from "./pages/overview";
import { Playground } from "./pages/playground";
import { Session } from "./pages/session";
import { Sessions } from "./pages/sessions";
import { Settings } from "./pages/settings";
import { Templates } from "./pages/templates";
import { TracePage } from "./pages/trace";
import { Traces } from "./pages/traces";

const TITLES: Record<string, string> = { "": "Overview", play: "Playground", traces: "Traces", compare: "Compare", sessions: "Sessions", agent: "Agent", keys: "Keys", settings: "Settings", doctor: "Doctor", templates: "Templates", nodes: "Nodes" };

function Page({ who }: { who: Who }) {
  const { path } = useRoute();
  const [here = "", id] = path;
  useEffect(() => {
    document.title = `${TITLES[here] ?? "fireclay"} · fireclay`;
    scrollTo(0, 0);
  }, [path.join("/")]);
  switch (here) {
    case "": return <Overview />;
    case "play": return <Playground />;
    case "traces": return id ? <TracePage key={id} id={id} /> : <Traces />;
    case "compare": return <Compare />;
    case "sessions": return id ? <Session key={id} id={id} /> : <Sessions />;
    case "agent": return <Agent key={id} id={id} />;
    case "keys": return <Keys who={who} />;
    case "settings": return <Settings />;
    case "doctor": return <Doctor />;
    case "templates": return <Templates />;
    case "nodes": return <Nodes />;
    default: return <><Head title="Not found" /><Empty title="There is no such page" actions={<a class="button" href={href("")}>Overview</a>}>Nothing of the console is at this address.</Empty></>;
  }
}

function App() {
  const [who, set] = useState<Who | null>(null);
  const [state, put] = useState<"asking" | "out" | "in" | "lost">("asking");
  const [problem, tell] = useState<Problem | null>(null);
  const look = async () => {
    try {
      // A link logs in once; what it says is in no history and no log.
      const link = /^#\/link\/([0-9a-f]{64})$/.exec(location.hash)?.[1];
      if (link) {
        history.replaceState(null, "", "/#/");
        dispatchEvent(new HashChangeEvent("hashchange"));
        await send("POST", "/console/login", { link });
      }
      set(await get<Who>("/console/session"));
      put("in");
    } catch (error) {
      const found = problemOf(error);
      const status = error instanceof Refused ? found.status : 0;
      tell(status === 401 && /no key with the request/.test(found.detail) ? null : found);
      put(status === 401 ? "out" : "lost");
    }
  };
  useEffect(() => {
    onLoggedOut.tell = () => { set(null); put("out"); };
    look();
  }, []);
  if (state === "in" && who) return <Shell who={who}><Page who={who} /></Shell>;
  return <Bare>{state === "out" ? <Login problem={problem} done={() => { tell(null); look(); }} /> : state === "lost" ? <main class="gate"><div><Trouble problem={problem!} retry={look} /></div></main> : <main class="gate"><div><Wait lines={3} label="Looking who is logged in" /></div></main>}</Bare>;
}

function Bare({ children }: { children: ComponentChildren }) {
  useScheme();
  return <>{children}</>;
}

render(<App />, document.getElementById("app")!);
