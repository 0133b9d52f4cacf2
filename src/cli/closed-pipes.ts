/**
 * Goes on when whoever read a stream has gone, as `| head` does: what a run brings has to be indexed all the same, and its exit
 * code says how it went.
 */
export function letGo(stream: NodeJS.WriteStream): void {
  if (stream.listeners("error").includes(onError)) return;
  stream.on("error", onError);
}

function onError(e: NodeJS.ErrnoException): void {
  if (e.code !== "EPIPE") throw e;
}
