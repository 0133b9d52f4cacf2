/** An answer that can be asked for again at no cost: services answer 304 to its ETag. */
export interface KnownAnswer {
  readonly etag: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** Answers of services by URL, the ones used last kept. Whoever repeats a run hands it on to the next one. */
export interface AnswerMemory {
  get(url: string): KnownAnswer | undefined;
  set(url: string, answer: KnownAnswer): void;
}

const LIMIT = 32 * 1024 * 1024;

/** @param limit bytes of bodies that are kept. */
export function answerMemory(limit = LIMIT): AnswerMemory {
  const known = new Map<string, KnownAnswer>();
  let size = 0;
  const forget = (url: string): void => {
    size -= known.get(url)?.body.length ?? 0;
    known.delete(url);
  };
  return {
    get(url) {
      const answer = known.get(url);
      if (answer) {
        known.delete(url);
        known.set(url, answer);
      }
      return answer;
    },
    set(url, answer) {
      forget(url);
      if (answer.body.length > limit) return;
      known.set(url, answer);
      size += answer.body.length;
      for (const oldest of known.keys()) {
        if (size <= limit) break;
        forget(oldest);
      }
    },
  };
}
