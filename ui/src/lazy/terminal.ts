// xterm.js over a process of a session, fetched when a terminal is opened. It draws what a program writes as characters only; links,
// titles and the clipboard are not among what it is let do.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { send } from "../api";

/** Stands in for <style>: what xterm writes into it becomes a constructed sheet, which the policy lets in. */
class Sheet extends HTMLElement {
  private sheet = new CSSStyleSheet();
  connectedCallback(): void { if (!document.adoptedStyleSheets.includes(this.sheet)) document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.sheet]; }
  disconnectedCallback(): void { document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== this.sheet); }
  override set textContent(text: string) { this.sheet.replaceSync(text); }
  override get textContent(): string { return ""; }
}
customElements.define("fireclay-sheet", Sheet);

const plain = document.createElement.bind(document);

/** The document, but for what it makes when asked for a <style>. */
const page = new Proxy(document, {
  get(own, name) {
    if (name === "createElement") return (tag: string, options?: ElementCreationOptions) => plain(tag === "style" ? "fireclay-sheet" : tag, options);
    const value = Reflect.get(own, name, own);
    return typeof value === "function" ? value.bind(own) : value;
  },
});

/** Starts a shell in the session and shows it; returns what ends it. */
export async function open(host: HTMLElement, session: string, told: { on: () => void; ended: () => void }): Promise<() => void> {
  const terminal = new Terminal({
    documentOverride: page, fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono").trim(), fontSize: 13, lineHeight: 1.25, cursorBlink: false, scrollback: 5000, screenReaderMode: true,
    allowProposedApi: false, linkHandler: { activate: () => {} },
    theme: { background: "#161412", foreground: "#ece8e2", cursor: "#f0875a", selectionBackground: "#5a3a2c", black: "#3a352f", red: "#ff8f85", green: "#6cc786", yellow: "#e5b454", blue: "#86b4f0", magenta: "#d99ad0", cyan: "#7cc7cf", white: "#ece8e2", brightBlack: "#968f84" },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  // A part of it asks the document itself.
  const make = page.createElement;
  Object.defineProperty(document, "createElement", { value: make, configurable: true, writable: true });
  try { terminal.open(host); } finally { delete (document as { createElement?: unknown }).createElement; }
  fit.fit();
  const size = () => ({ rows: terminal.rows, columns: terminal.cols });
  const process = await send<{ process: number }>("POST", `/v1/sessions/${session}/processes`, { command: ["bash"], terminal: size() });
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/v1/sessions/${session}/attach?process=${process.process}`);
  const say = (message: unknown) => { if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };
  socket.onopen = () => { told.on(); say({ type: "resize", ...size() }); terminal.focus(); };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "output") terminal.write(message.text ?? Uint8Array.from(atob(message.base64), (one) => one.charCodeAt(0)));
    else if (message.type === "ended") told.ended();
  };
  socket.onclose = () => told.ended();
  terminal.onData((text) => say({ type: "stdin", text }));
  terminal.onResize(() => say({ type: "resize", ...size() }));
  terminal.attachCustomKeyEventHandler((event) => !(event.key === "Tab" && event.shiftKey && event.ctrlKey));
  const watch = new ResizeObserver(() => fit.fit());
  watch.observe(host);
  return () => {
    watch.disconnect();
    socket.onclose = null;
    socket.close();
    terminal.dispose();
    send("DELETE", `/v1/sessions/${session}/processes/${process.process}`).catch(() => {});
  };
}
