// What is around every page: the ways to the others, who is logged in, light or dark.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { send } from "./api";
import { href, useRoute } from "./route";
import { Icon, Mark } from "./pieces/icons";
import { Segment } from "./pieces/basic";

export interface Who { tenant: string; role: "admin" | "tenant"; key: string | null; login: boolean }

const WAYS: readonly (readonly [string, string, string])[] = [
  ["", "Overview", "overview"], ["play", "Playground", "play"], ["traces", "Traces", "traces"], ["sessions", "Sessions", "sessions"], ["agent", "Agent", "agent"],
];
const SERVICE: readonly (readonly [string, string, string])[] = [
  ["templates", "Templates", "templates"], ["keys", "Keys", "keys"], ["nodes", "Nodes", "nodes"], ["settings", "Settings", "settings"], ["doctor", "Doctor", "doctor"],
];

export type Scheme = "auto" | "light" | "dark";

export function useScheme(): [Scheme, (scheme: Scheme) => void] {
  const [scheme, set] = useState<Scheme>(() => (localStorage.getItem("fireclay-scheme") as Scheme) ?? "auto");
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const apply = () => {
      document.documentElement.dataset.scheme = scheme === "auto" ? (dark.matches ? "dark" : "light") : scheme;
      dispatchEvent(new Event("fireclay-scheme"));
    };
    apply();
    localStorage.setItem("fireclay-scheme", scheme);
    dark.addEventListener("change", apply);
    return () => dark.removeEventListener("change", apply);
  }, [scheme]);
  return [scheme, set];
}

export function Shell({ who, children }: { who: Who; children: ComponentChildren }) {
  const { path } = useRoute();
  const [open, show] = useState(false);
  const [scheme, choose] = useScheme();
  const here = path[0] ?? "";
  // By the address and not by an effect of the first paint, which would close what a quick hand has opened.
  useEffect(() => {
    const close = () => show(false);
    addEventListener("hashchange", close);
    return () => removeEventListener("hashchange", close);
  }, []);
  const way = ([to, name, icon]: readonly [string, string, string]) => <a key={to} href={href(to)} aria-current={here === to ? "page" : undefined}><Icon name={icon} />{name}</a>;
  const leave = async () => { await send("POST", "/console/logout").catch(() => {}); location.hash = ""; location.reload(); };
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the page</a>
      <header class="top"><a class="mark" href="#/"><Mark />fireclay</a><button class="quiet" aria-expanded={open} aria-controls="ways" onClick={() => show(!open)}><Icon name="menu" /><span class="hidden-text">Menu</span></button></header>
      <aside class={open ? "side open" : "side"} id="ways" aria-label="Console">
        <a class="mark" href="#/"><Mark />fireclay</a>
        <nav class="nav" aria-label="Pages">{WAYS.map(way)}<span class="gap" />{SERVICE.filter(([to]) => who.role === "admin" || !["nodes", "settings"].includes(to)).map(way)}
          <span class="gap" /><a href="/docs"><Icon name="book" />API reference</a></nav>
        <div class="side-foot">
          <Segment label="Colours" options={[["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]]} value={scheme} choose={choose} />
          <div class="who"><div class="row between"><span class="clip">{who.tenant}</span><span>{who.role}</span></div>
            {who.key && <div class="mono faint small clip">key {who.key}</div>}
            {who.login && <button class="quiet small" onClick={leave}><Icon name="out" />Log out</button>}</div>
        </div>
      </aside>
      <main class="main" id="main" tabIndex={-1}>{children}</main>
    </div>
  );
}
