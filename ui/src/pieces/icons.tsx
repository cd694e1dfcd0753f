// Icons, drawn for this console: 16 px, one stroke.
const PATHS: Record<string, string> = {
  play: "M4.5 3v10l8-5z", traces: "M2 4h7M5 8h9M3.5 12H10", overview: "M2.5 13.5v-4M6.2 13.5v-8M9.8 13.5v-6M13.5 13.5v-11",
  sessions: "M2.5 3h11v10h-11zM5 6.5l2 1.8-2 1.7M8.5 10h2.5", agent: "M3 3h10v8H8l-3 2.5V11H3z", keys: "M9 7l4.5-4.5M11.5 4.5l2 2M9.3 9.7a2.8 2.8 0 1 1-4-4 2.8 2.8 0 0 1 4 4z",
  settings: "M2 5h6M11 5h3M9.5 3.5v3M2 11h3M8 11h6M6.5 9.5v3", doctor: "M1.5 8h3l2-5 3 10 2-5h3", templates: "M8 2l6 3-6 3-6-3zM2 8l6 3 6-3M2 11l6 3 6-3", nodes: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7", moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z", auto: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  menu: "M2 4.5h12M2 8h12M2 11.5h12", book: "M3 2.5h8.5a1.5 1.5 0 0 1 1.5 1.5v9.5H4.5A1.5 1.5 0 0 1 3 12zM5.5 5.5h5M5.5 8h5", out: "M6 3H3v10h3M7 8h6.5M11 5.5L13.5 8 11 10.5",
  folder: "M2 4h4l1.5 2H14v7H2z", file: "M4 2h5l3 3v9H4zM9 2v3h3",
};

export function Icon({ name }: { name: string }) {
  return <svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d={PATHS[name] ?? ""} /></svg>;
}

/** The kiln. */
export function Mark() {
  return <svg width="20" height="20" viewBox="0 0 24 24" fill="currentColor" aria-hidden="true"><path d="M4 21V11a8 8 0 0 1 16 0v10h-5v-8a3 3 0 0 0-6 0v8z" /></svg>;
}
