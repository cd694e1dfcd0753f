// Output of programs as pieces of text with a style. Colours and weights count (ECMA-48, 8.3.117, SGR); every other control sequence is
// dropped: a cursor cannot be moved, a title not set, a clipboard not written, a link not made.

export interface Piece { text: string; classes: string; colour?: string }

interface Style { weight: Set<number>; front: string | null; colour?: string }

/** Reads text; `style` goes on from the text before it. */
export class Ansi {
  private style: Style = { weight: new Set(), front: null };
  private rest = "";

  read(said: string): Piece[] {
    const text = (this.rest + said).replace(/\r\n/g, "\n");
    // A sequence that is not complete waits for its end, a little.
    const open = /\x1b(?:\[[0-9;:?]{0,32})?$/.exec(text);
    this.rest = open ? open[0] : "";
    const whole = open ? text.slice(0, open.index) : text;
    const pieces: Piece[] = [];
    const sequence = /\x1b\[([0-9;:?<=>]*)([ -/]*[@-~])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]/g;
    let from = 0;
    for (let found = sequence.exec(whole); found; found = sequence.exec(whole)) {
      this.put(pieces, whole.slice(from, found.index));
      from = found.index + found[0].length;
      if (found[2] === "m") this.set(found[1] ?? "");
    }
    this.put(pieces, whole.slice(from));
    return pieces;
  }

  private put(pieces: Piece[], text: string): void {
    if (text === "") return;
    const classes = [...this.style.weight].map((one) => `a${one}`).concat(this.style.front ?? []).join(" ");
    pieces.push({ text: carried(text), classes, colour: this.style.colour });
  }

  private set(said: string): void {
    const codes = said.split(/[;:]/).map(Number);
    for (let at = 0; at < codes.length; at += 1) {
      const code = codes[at] || 0;
      if (code === 0) this.style = { weight: new Set(), front: null };
      else if ([1, 2, 3, 4, 9].includes(code)) this.style.weight.add(code);
      else if (code === 22) { this.style.weight.delete(1); this.style.weight.delete(2); }
      else if ([23, 24, 29].includes(code)) this.style.weight.delete(code - 20);
      else if (code >= 30 && code <= 37) this.front(code - 30);
      else if (code >= 90 && code <= 97) this.front(code - 90);
      else if (code === 39) { this.style.front = null; this.style.colour = undefined; }
      else if (code === 38 || code === 48) {
        const near = codes[at + 1] === 5 ? xterm(codes[at + 2] ?? 0) : codes[at + 1] === 2 ? codes.slice(at + 2, at + 5) : null;
        at += codes[at + 1] === 5 ? 2 : codes[at + 1] === 2 ? 4 : 0;
        if (code === 38 && near) this.near(near);
      }
    }
  }

  private front(number: number): void { this.style.front = `f${number}`; this.style.colour = undefined; }

  /** One of our own eight, the nearest: those can be read on our paper, in light and dark. */
  private near([red = 0, green = 0, blue = 0]: number[]): void {
    const most = Math.max(red, green, blue), least = Math.min(red, green, blue);
    if (most - least < 40) return this.front(most < 140 ? 0 : 7);
    const over = (least + most) / 2;
    this.front((red > over ? 1 : 0) + (green > over ? 2 : 0) + (blue > over ? 4 : 0));
  }
}

/** The colour of xterm's table of 256. */
function xterm(number: number): number[] {
  if (number < 16) return [1, 2, 4].map((bit) => (number & bit ? 200 : 0));
  if (number >= 232) return [0, 0, 0].map(() => 8 + (number - 232) * 10);
  const level = (part: number) => (part ? 55 + part * 40 : 0);
  const at = number - 16;
  return [level(Math.floor(at / 36)), level(Math.floor(at / 6) % 6), level(at % 6)];
}

/** A carriage return writes a line anew, as progress bars do. */
function carried(text: string): string {
  if (!text.includes("\r")) return text;
  return text.split("\n").map((line) => line.replace(/\r+$/, "").split("\r").pop()!).join("\n");
}
