// Where the reader is: the part of the address after `#`, as a path and arguments.
import { useEffect, useRef, useState } from "preact/hooks";

export interface Route { path: string[]; args: URLSearchParams }

export function read(): Route {
  const [path = "", args = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decode), args: new URLSearchParams(args) };
}

function decode(text: string): string {
  try { return decodeURIComponent(text); } catch { return text; }
}

export function useRoute(): Route {
  const [route, set] = useState(read);
  const seen = useRef(location.hash);
  useEffect(() => {
    const heard = () => set(read());
    addEventListener("hashchange", heard);
    // What changed between the first look and now was told to nobody.
    if (location.hash !== seen.current) heard();
    return () => removeEventListener("hashchange", heard);
  }, []);
  return route;
}

export function href(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function go(to: string): void {
  location.hash = to.replace(/^#/, "");
}

/** Changes arguments of the address; an empty one goes. Does not make a step of the history. */
export function setArgs(change: Record<string, string | null>): void {
  const { path, args } = read();
  for (const [name, value] of Object.entries(change)) value ? args.set(name, value) : args.delete(name);
  const text = args.toString();
  history.replaceState(null, "", href(...path) + (text ? `?${text}` : ""));
  dispatchEvent(new HashChangeEvent("hashchange"));
}
