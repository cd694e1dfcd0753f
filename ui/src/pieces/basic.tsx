// The small parts that every page is made of.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused, LOST, type Problem } from "../api";
import { spoken, tone } from "../words";

/** What is fetched for a page: loading until it is there, an error with its hint, and a way to ask again. */
export interface Loaded<T> { data: T | null; problem: Problem | null; loading: boolean; reload: () => void; set: (data: T) => void }

export function useLoad<T>(fetcher: (signal: AbortSignal) => Promise<T>, on: unknown[]): Loaded<T> {
  const [state, put] = useState<{ data: T | null; problem: Problem | null; loading: boolean }>({ data: null, problem: null, loading: true });
  const [turn, again] = useState(0);
  useEffect(() => {
    const end = new AbortController();
    put((before) => ({ ...before, loading: true }));
    fetcher(end.signal).then(
      (data) => { if (!end.signal.aborted) put({ data, problem: null, loading: false }); },
      (error) => { if (!end.signal.aborted) put((before) => ({ ...before, problem: problemOf(error), loading: false })); },
    );
    return () => end.abort();
  }, [...on, turn]);
  return { ...state, reload: () => again((n) => n + 1), set: (data) => put({ data, problem: null, loading: false }) };
}

export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  return { ...LOST, title: "The console failed", detail: error instanceof Error ? error.message : String(error), hint: "" };
}

/** Does something again and again while the page is seen. */
export function useEvery(period: number, act: () => void): void {
  const last = useRef(act);
  last.current = act;
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) last.current(); }, period);
    return () => clearInterval(timer);
  }, [period]);
}

export function Trouble({ problem, retry }: { problem: Problem; retry?: () => void }) {
  return (
    <div class="note bad" role="alert">
      <strong>{problem.title}.</strong> {capital(problem.detail)}{problem.hint && <span class="soft"> — {problem.hint}</span>}
      {retry && <> <button class="small" onClick={retry}>Try again</button></>}
    </div>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function Wait({ lines = 4, label = "Loading" }: { lines?: number; label?: string }) {
  return (
    <div class="skeleton" role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, at) => <i key={at} style={{ width: `${92 - ((at * 23) % 47)}%` }} />)}
    </div>
  );
}

export function Empty({ title, children, actions }: { title: string; children?: ComponentChildren; actions?: ComponentChildren }) {
  return <div class="empty"><h2>{title}</h2>{children && <p>{children}</p>}{actions && <div class="row">{actions}</div>}</div>;
}

/** What a page shows of what it fetched: the data; or that it is on its way, or why it did not come. */
export function Show<T>({ of, children, lines }: { of: Loaded<T>; children: (data: T) => ComponentChildren; lines?: number }) {
  if (of.data !== null) return <>{of.problem && <Trouble problem={of.problem} retry={of.reload} />}{children(of.data)}</>;
  if (of.problem) return <div class="card"><div class="body"><Trouble problem={of.problem} retry={of.reload} /></div></div>;
  return <div class="card"><Wait lines={lines} /></div>;
}

export function Head({ title, children, note }: { title: ComponentChildren; note?: ComponentChildren; children?: ComponentChildren }) {
  return <div class="head"><div><h1>{title}</h1>{note && <p>{note}</p>}</div>{children && <div class="row">{children}</div>}</div>;
}

export function Card({ title, actions, children, flush, label }: { title?: ComponentChildren; actions?: ComponentChildren; children?: ComponentChildren; flush?: boolean; label?: string }) {
  return (
    <section class="card" aria-label={label ?? (typeof title === "string" ? title : undefined)}>
      {(title || actions) && <header><h2 class="grow">{title}</h2>{actions}</header>}
      {flush ? children : <div class="body">{children}</div>}
    </section>
  );
}

export function Outcome({ of }: { of: string }) {
  return <span class={`badge ${tone(of)}`}>{spoken(of)}</span>;
}

export function Segment<T extends string>({ label, options, value, choose }: { label: string; options: readonly (readonly [T, string])[]; value: T; choose: (value: T) => void }) {
  return (
    <div class="segment" role="group" aria-label={label}>
      {options.map(([one, text]) => <button key={one} type="button" aria-pressed={one === value} onClick={() => choose(one)}>{text}</button>)}
    </div>
  );
}

/** Tabs (WAI-ARIA practices): one in the order of focus, arrows go among them. */
export function Tabs<T extends string>({ label, options, value, choose }: { label: string; options: readonly (readonly [T, string, (number | null)?])[]; value: T; choose: (value: T) => void }) {
  const row = useRef<HTMLDivElement>(null);
  const key = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const at = options.findIndex(([one]) => one === value);
    const next = (at + step + options.length) % options.length;
    choose(options[next]![0]);
    (row.current?.children[next] as HTMLElement | undefined)?.focus();
    event.preventDefault();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} ref={row} onKeyDown={key}>
      {options.map(([one, text, number]) => (
        <button key={one} type="button" role="tab" aria-selected={one === value} tabIndex={one === value ? 0 : -1} onClick={() => choose(one)}>
          {text}{number ? <span class="count">{number}</span> : null}
        </button>
      ))}
    </div>
  );
}

export function Field({ label, hint, children }: { label: string; hint?: ComponentChildren; children: ComponentChildren }) {
  return <div class="field"><label><span class="label">{label}</span>{children}</label>{hint && <span class="hint">{hint}</span>}</div>;
}

export function Copy({ text, label = "Copy" }: { text: string | (() => string); label?: string }) {
  const [done, set] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(typeof text === "string" ? text : text());
    set(true);
    setTimeout(() => set(false), 1400);
  };
  return <button type="button" class="small quiet" onClick={copy}>{done ? "Copied" : label}<span class="hidden-text" role="status">{done ? "Copied" : ""}</span></button>;
}

/** A dialog over the page; Escape closes it. */
export function Dialog({ label, close, children }: { label: string; close: () => void; children: ComponentChildren }) {
  const own = useRef<HTMLDialogElement>(null);
  useEffect(() => { own.current?.showModal(); }, []);
  return <dialog class="dialog" ref={own} aria-label={label} onClose={close} onClick={(event) => { if (event.target === own.current) close(); }}>{children}</dialog>;
}

export function Pairs({ of }: { of: (readonly [string, ComponentChildren])[] }) {
  return <dl class="pairs">{of.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => <><dt>{name}</dt><dd>{value}</dd></>)}</dl>;
}

export function Figure({ label, value, children }: { label: string; value: ComponentChildren; children?: ComponentChildren }) {
  return <div class="figure"><span>{label}</span><b>{value}</b>{children}</div>;
}

/** Has the browser keep bytes as a file. */
export function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const watch = new ResizeObserver((seen) => {
  for (const { target } of seen) target.scrollWidth > target.clientWidth ? target.setAttribute("tabindex", "0") : target.removeAttribute("tabindex");
});

/** Lets what is wider than its place be reached, and scrolled, by keyboard; what fits is no stop on the way. */
export function reach(element: Element | null): void {
  if (element) watch.observe(element);
}
