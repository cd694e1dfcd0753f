/** Files of a session: read, written and moved while code works with them, and read for a while after its end. */

import type { components } from "./api.js";
import { type FileContent, partsOf } from "./request.js";
import type { Transport } from "./transport.js";

/** What is in a directory. */
export type FileList = components["schemas"]["FileList"];

/** One thing in a workspace. */
export type FileView = components["schemas"]["FileView"];

/** `/v1/sessions/{id}/files`. Paths are relative to the workspace; no link is followed. */
export class SessionFiles {
  constructor(
    private readonly transport: Transport,
    private readonly session: string,
  ) {}

  /** The content of a file. `stream` is for one that is too large for memory. */
  async read(path: string): Promise<Uint8Array> {
    const response = await this.transport.send("GET", this.file(path));
    return new Uint8Array(await this.transport.read(response, (whole) => whole.arrayBuffer()));
  }

  /** The content of a file that is UTF-8. Throws for one that is not. */
  async readText(path: string): Promise<string> {
    return new TextDecoder("utf-8", { fatal: true }).decode(await this.read(path));
  }

  /** The content of a file, piece by piece. */
  async stream(path: string): Promise<ReadableStream<Uint8Array>> {
    const response = await this.transport.send("GET", this.file(path));
    return response.body ?? new Blob([]).stream();
  }

  /** Puts a file there, whole or not at all, in place of what was there; directories on the way are made. */
  async write(path: string, content: FileContent, { executable = false } = {}): Promise<FileView> {
    const query = executable ? { executable } : {};
    const body = { type: "application/octet-stream", content };
    return this.transport.ask("PUT", this.file(path), { query, body });
  }

  /** What is in a directory, and with `recursive` below it; with `glob` only what matches: `*`, `**`, `?`, `[ab]`, `{a,b}`. */
  async list(path = "", { recursive = false, glob }: { recursive?: boolean; glob?: string } = {}): Promise<FileList> {
    const query = { path: path || undefined, recursive: recursive || undefined, glob };
    return this.transport.ask("GET", `${this.session}/files`, { query });
  }

  /** Removes a file, or a directory with all that is in it. */
  async remove(path: string): Promise<void> {
    const response = await this.transport.send("DELETE", this.file(path));
    await this.transport.read(response, (whole) => whole.text());
  }

  /** Moves a file or a directory; directories on the way are made. Throws `Conflict` if something is there, without `replace`. */
  async move(path: string, to: string, { replace = false } = {}): Promise<FileView> {
    return this.transport.ask("POST", `${this.session}/move`, { json: { from: path, to, replace } });
  }

  /** Makes a directory, and those on the way. */
  async mkdir(path: string): Promise<FileView> {
    return this.transport.ask("POST", `${this.session}/directories`, { json: { path } });
  }

  private file(path: string): string {
    return `${this.session}/files/${partsOf(path)}`;
  }
}
