// CodeMirror, fetched when something is to be edited or highlighted. The editor lives in a shadow root: there its styles are
// constructed sheets, which the policy lets in; in the page they would be inline, which it does not.
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { javascriptLanguage, typescriptLanguage } from "@codemirror/lang-javascript";
import { pythonLanguage } from "@codemirror/lang-python";
import { bracketMatching, indentOnInput, indentUnit, Language, StreamLanguage, type StreamParser, type StringStream, syntaxHighlighting } from "@codemirror/language";
import { c, clike, cpp, java } from "@codemirror/legacy-modes/mode/clike";
import { go } from "@codemirror/legacy-modes/mode/go";
import { perl } from "@codemirror/legacy-modes/mode/perl";
import { r } from "@codemirror/legacy-modes/mode/r";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { rust } from "@codemirror/legacy-modes/mode/rust";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter, highlightTree } from "@lezer/highlight";

const bash = StreamLanguage.define(shell);
const words = (text: string) => Object.fromEntries(text.split(" ").map((word) => [word, true]));
// PHP is near to C: its words, its variables, and the mark that it begins with.
const php = clike({
  name: "php", multiLineStrings: true, atoms: words("true false null TRUE FALSE NULL"),
  keywords: words("abstract and array as break case catch class clone const continue declare default do echo else elseif empty enum exit extends final finally fn for foreach function global goto if implements include instanceof interface isset list match namespace new or print private protected public readonly require return static switch throw trait try unset use var while xor yield"),
  hooks: {
    $: (stream: StringStream) => { stream.eatWhile(/[\w$]/); return "variableName.special"; },
    "#": (stream: StringStream) => { stream.skipToEnd(); return "comment"; },
    "<": (stream: StringStream) => (stream.match(/^\?(php|=)?/) ? "meta" : false),
    "?": (stream: StringStream) => (stream.eat(">") ? "meta" : false),
  },
});
const of = <State>(parser: StreamParser<State>) => StreamLanguage.define(parser);
const LANGUAGES: Record<string, Language> = { c: of(c), cpp: of(cpp), java: of(java), go: of(go), perl: of(perl), php: of(php), r: of(r), ruby: of(ruby), rust: of(rust), python: pythonLanguage, javascript: javascriptLanguage, typescript: typescriptLanguage, bash, sh: bash, js: javascriptLanguage, ts: typescriptLanguage, py: pythonLanguage };

export interface Token { text: string; classes: string }

/** Text in pieces, with the classes of what they are. */
export function tokens(text: string, language: string): Token[] {
  const known = LANGUAGES[language];
  if (!known) return [{ text, classes: "" }];
  const found: Token[] = [];
  let at = 0;
  highlightTree(known.parser.parse(text), classHighlighter, (from, to, classes) => {
    if (from > at) found.push({ text: text.slice(at, from), classes: "" });
    found.push({ text: text.slice(from, to), classes });
    at = to;
  });
  if (at < text.length) found.push({ text: text.slice(at), classes: "" });
  return found;
}

const theme = EditorView.theme({
  "&": { height: "100%", fontSize: "13px", color: "var(--ink)", backgroundColor: "transparent" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", minHeight: "var(--editor-min, 320px)", maxHeight: "var(--editor-max, 60vh)" },
  ".cm-content": { padding: "12px 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 16px 0 8px" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--faint)", border: "none" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 8px 0 16px", minWidth: "40px" },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--sunk) 60%, transparent)" }, ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--ink)" },
  "&.cm-focused": { outline: "none" }, ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--accent-wash)" },
  ".cm-matchingBracket": { backgroundColor: "var(--accent-wash)", outline: "1px solid var(--accent-line)" },
  ".cm-panels": { backgroundColor: "var(--sunk)", color: "var(--ink)" },
  ".tok-keyword, .tok-operatorKeyword": { color: "var(--tok-key)" }, ".tok-string, .tok-string2": { color: "var(--tok-str)" }, ".tok-number, .tok-bool, .tok-atom": { color: "var(--tok-num)" },
  ".tok-comment": { color: "var(--tok-com)" }, ".tok-variableName.tok-definition, .tok-propertyName.tok-definition": { color: "var(--tok-fn)" }, ".tok-typeName, .tok-className, .tok-namespace": { color: "var(--tok-type)" },
});

export interface Handle { set(text: string): void; language(language: string): void; focus(): void; destroy(): void }

export function mount(host: HTMLElement, options: { text: string; language: string; label: string; changed: (text: string) => void; run: () => void }): Handle {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const parent = document.createElement("div");
  root.replaceChildren(parent);
  const spoken = new Compartment();
  const of = (language: string) => LANGUAGES[language] ?? [];
  // What the page sets is no change of a person's: told as one, two values set one right after the other would set each other for ever.
  let setting = false;
  const view = new EditorView({
    root, parent,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        lineNumbers(), highlightActiveLineGutter(), highlightActiveLine(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(), highlightSelectionMatches(),
        syntaxHighlighting(classHighlighter), indentUnit.of("    "), spoken.of(of(options.language)), theme,
        EditorView.contentAttributes.of({ "aria-label": options.label, tabindex: "0" }),
        // Escape, then Tab, leaves the editor: nobody is caught in it.
        keymap.of([{ key: "Mod-Enter", run: () => { options.run(); return true; } }, ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, indentWithTab]),
        EditorView.updateListener.of((update) => { if (update.docChanged && !setting) options.changed(update.state.doc.toString()); }),
      ],
    }),
  });
  return {
    set: (text) => {
      if (text === view.state.doc.toString()) return;
      setting = true;
      try { view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }); } finally { setting = false; }
    },
    language: (language) => view.dispatch({ effects: spoken.reconfigure(of(language)) }),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
