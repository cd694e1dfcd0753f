// A place to write code: plain until CodeMirror has come.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Handle } from "../lazy/editor";

export function Editor({ value, language, label, change, run }: { value: string; language: string; label: string; change: (text: string) => void; run: () => void }) {
  const host = useRef<HTMLDivElement>(null);
  const handle = useRef<Handle | null>(null);
  const acts = useRef({ change, run, value });
  acts.current = { change, run, value };
  const [ready, set] = useState(false);
  useEffect(() => {
    let gone = false;
    import("../lazy/editor").then((editor) => {
      if (gone || !host.current) return;
      handle.current = editor.mount(host.current, { text: acts.current.value, language, label, changed: (text) => acts.current.change(text), run: () => acts.current.run() });
      set(true);
    }).catch(() => { /* What is plain goes on. */ });
    return () => { gone = true; handle.current?.destroy(); handle.current = null; };
  }, []);
  useEffect(() => handle.current?.language(language), [language, ready]);
  useEffect(() => handle.current?.set(value), [value]);
  return (
    <div class="editor">
      <div ref={host} hidden={!ready} data-editor={ready ? "ready" : "waiting"} />
      {!ready && <textarea aria-label={label} spellcheck={false} value={value} onInput={(event) => change(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(); }} />}
    </div>
  );
}
