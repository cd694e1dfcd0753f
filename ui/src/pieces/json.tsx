// JSON as a tree that opens. Bounded: what is large is cut, and says so.

export function Json({ value, open = 2 }: { value: unknown; open?: number }) {
  return <div class="json"><Node value={value} depth={0} open={open} /></div>;
}

const ITEMS_MAX = 200;

function Node({ value, name, depth, open }: { value: unknown; name?: string; depth: number; open: number }) {
  const key = name === undefined ? null : <><span class="k">{name}</span>: </>;
  if (value === null || typeof value !== "object") {
    const text = typeof value === "string" ? JSON.stringify(value.length > 10_000 ? `${value.slice(0, 10_000)}…` : value) : String(value);
    return <div>{key}<span class={typeof value === "string" ? "s" : "n"}>{text}</span></div>;
  }
  const entries: [string, unknown][] = Array.isArray(value) ? value.map((one, at) => [String(at), one]) : Object.entries(value);
  const [begin, end] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (entries.length === 0 || depth > 40) return <div>{key}{begin}{entries.length ? "…" : ""}{end}</div>;
  return (
    <details open={depth < open}>
      <summary>{key}{begin}<span class="faint"> {entries.length} </span>{end}</summary>
      <div>{entries.slice(0, ITEMS_MAX).map(([one, inner]) => <Node key={one} name={one} value={inner} depth={depth + 1} open={open} />)}{entries.length > ITEMS_MAX && <div class="faint">{entries.length - ITEMS_MAX} more</div>}</div>
    </details>
  );
}
