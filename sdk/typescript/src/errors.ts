/**
 * What can go wrong, by whose mistake it is.
 *
 *     FireclayError
 *     ├── Unreachable      no answer came: nobody listens, or the connection broke
 *     ├── ProblemError     the service answered with a problem document (RFC 9457), in `problem`
 *     │   ├── Rejected     the caller's mistake, 4xx and 507
 *     │   │   ├── Unauthenticated (401), Forbidden (403), NotFound (404), Conflict (409), TooMany (429), NoRoom (507)
 *     │   └── Faulted      a failure of the service, 5xx
 *     └── RunError         the run is in `run`
 *         ├── RunFaulted   the service failed at a run: nobody knows what its code would have done
 *         └── RunFailed    thrown by `run.check()` only: what code does is a result, not an error
 */

import type { components } from "./api.js";
import type { Run } from "./result.js";

/** A problem document (RFC 9457). */
export type Problem = components["schemas"]["Problem"];

/** Any error of this package. */
export class FireclayError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** No answer, or no whole one. Whether the service did what it was asked is not known. */
export class Unreachable extends FireclayError {}

/** The service said no, and why. */
export class ProblemError extends FireclayError {
  /** The HTTP status. */
  readonly status: number;

  /** After how many milliseconds the service wants to be asked again is `retryAfterMs`, if it said so. */
  constructor(
    readonly problem: Problem,
    readonly retryAfterMs?: number,
  ) {
    const field = problem.field ? ` (${problem.field})` : "";
    const hint = problem.hint ? `; ${problem.hint}` : "";
    super(`${problem.detail || problem.title}${field}${hint}`);
    this.status = problem.status;
  }
}

/** A mistake of the caller's. The same request is refused again, but for `TooMany`. */
export class Rejected extends ProblemError {}

/** The service wants a key, and not this one. */
export class Unauthenticated extends Rejected {}

/** The key lacks the role, or the service is asked by a name that it does not know. */
export class Forbidden extends Rejected {}

/** No such thing, or another tenant's. */
export class NotFound extends Rejected {}

/** It contradicts what is there: an idempotency key that came with another request, say. */
export class Conflict extends Rejected {}

/** The queue or the tenant's rate is full, after all retries. */
export class TooMany extends Rejected {}

/** The session's disk is full, or would be: the problem says how much is left. */
export class NoRoom extends Rejected {}

/** A failure of the service's, after all retries that were safe. */
export class Faulted extends ProblemError {}

/** A run that is not what was hoped for. */
export class RunError extends FireclayError {
  constructor(
    message: string,
    /** All that is known of it. */
    readonly run: Run,
  ) {
    super(message);
  }
}

/** The service failed at this run, after all retries that were safe. Not an answer about the code. */
export class RunFaulted extends RunError {
  constructor(run: Run) {
    super(run.fault ? `${run.fault.code}: ${run.fault.message}` : "the run has no outcome", run);
  }
}

/** The code did not complete. */
export class RunFailed extends RunError {
  constructor(run: Run) {
    const said = run.outcome === "failed" ? `exit code ${run.exit_code}` : String(run.outcome);
    super(run.error ? `${run.error.name}: ${run.error.message}` : said, run);
  }
}

const BY_STATUS = new Map([
  [401, Unauthenticated],
  [403, Forbidden],
  [404, NotFound],
  [409, Conflict],
  [429, TooMany],
  [507, NoRoom],
]);

/** The error of a problem document. */
export function errorOf(problem: Problem, retryAfterMs?: number): ProblemError {
  const kind = BY_STATUS.get(problem.status) ?? (problem.status >= 500 ? Faulted : Rejected);
  return new kind(problem, retryAfterMs);
}
