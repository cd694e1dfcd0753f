// Markdown as elements, never as markup: headings, lists, code, tables, emphasis. Links are shown with where they lead, and images not
// at all, since a program wrote them.
import type { ComponentChildren } from "preact";
import { reach } from "./basic";
import { Code } from "./code";

export function Markdown({ text }: { text: string }) {
  return <div class="prose">{blocks(text.slice(0, 200_000).replace(/\r\n/g, "\n").split("\n"))}</div>;
}

function blocks(lines: string[]): ComponentChildren[] {
  const found: ComponentChildren[] = [];
  for (let at = 0; at < lines.length;) {
    const line = lines[at]!;
    const take = (more: (line: string) => boolean) => { const from = at; while (at < lines.length && more(lines[at]!)) at += 1; return lines.slice(from, at); };
    const fence = /^```(\w*)/.exec(line);
    const heading = /^(#{1,6}) (.*)/.exec(line);
    if (fence) {
      at += 1;
      const code = take((one) => !one.startsWith("```"));
      at += 1;
      found.push(<Code text={code.join("\n")} language={fence[1] || ""} />);
    } else if (heading) {
      at += 1;
      found.push(heading[1]!.length < 3 ? <h3>{inline(heading[2]!)}</h3> : <h4>{inline(heading[2]!)}</h4>);
    } else if (/^\s*([-*+]|\d+[.)]) /.test(line)) {
      const items = take((one) => /^\s*([-*+]|\d+[.)]) /.test(one) || /^ {2,}\S/.test(one)).map((one) => one.replace(/^\s*([-*+]|\d+[.)]) /, "").trim());
      const own = items.map((one, n) => <li key={n}>{inline(one)}</li>);
      found.push(/^\s*\d/.test(line) ? <ol>{own}</ol> : <ul>{own}</ul>);
    } else if (line.startsWith("|") && /^\|?[\s:|-]+$/.test(lines[at + 1] ?? "")) {
      const rows = take((one) => one.startsWith("|")).filter((_, n) => n !== 1).map((one) => one.replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()));
      found.push(<div class="scroll" ref={reach}><table><thead><tr>{rows[0]!.map((cell, n) => <th key={n}>{inline(cell)}</th>)}</tr></thead><tbody>{rows.slice(1).map((row, n) => <tr key={n}>{row.map((cell, m) => <td key={m}>{inline(cell)}</td>)}</tr>)}</tbody></table></div>);
    } else if (line.trim() === "") at += 1;
    else {
      const from = at;
      take((one) => one.trim() !== "" && !/^(```|#{1,6} |\|)/.test(one) && !/^\s*([-*+]|\d+[.)]) /.test(one));
      if (at === from) at += 1;
      found.push(<p>{inline(lines.slice(from, at).join("\n"))}</p>);
    }
  }
  return found;
}

function inline(text: string): ComponentChildren[] {
  const found: ComponentChildren[] = [];
  const mark = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\n]+)\*|!?\[([^\]]*)\]\(([^)\s]+)[^)]*\)/g;
  let from = 0;
  for (let one = mark.exec(text); one; one = mark.exec(text)) {
    found.push(text.slice(from, one.index));
    from = one.index + one[0].length;
    if (one[1]) found.push(<code>{one[1]}</code>);
    else if (one[2]) found.push(<strong>{one[2]}</strong>);
    else if (one[3]) found.push(<em>{one[3]}</em>);
    else found.push(<>{one[4]} <span class="faint">({one[5]})</span></>);
  }
  found.push(text.slice(from));
  return found;
}
