// Code, highlighted once what highlights it has come; readable before.
import { useEffect, useState } from "preact/hooks";
import type { Token } from "../lazy/editor";

export function Code({ text, language, wrap }: { text: string; language: string; wrap?: boolean }) {
  const [tokens, set] = useState<Token[] | null>(null);
  useEffect(() => {
    let gone = false;
    set(null);
    if (language && text.length < 200_000) import("../lazy/editor").then((editor) => { if (!gone) set(editor.tokens(text, language)); }).catch(() => {});
    return () => { gone = true; };
  }, [text, language]);
  return <pre class={wrap ? "code wrap" : "code"} tabIndex={0} aria-label={language ? `${language} code` : "text"}>{tokens ? tokens.map((one, at) => (one.classes ? <span key={at} class={one.classes}>{one.text}</span> : one.text)) : text}</pre>;
}
