import { type Clients, s3Of } from "./clients.ts";
import type { Settings } from "./config/settings.ts";
import type { MirrorOptions } from "./run.ts";
import { channelLookup } from "./source/channel-lookup.ts";
import type { SourceContext } from "./source/kinds.ts";
import { memberPattern } from "./source/member-pattern.ts";
import { parseMirrorOf } from "./source/url.ts";
import { answerMemory } from "./transfer/answers.ts";

/** What is asked for of sources, whatever becomes of what they offer. */
export type SourceOptions = Pick<
  MirrorOptions,
  "sourcePath" | "mirrorOf" | "environments" | "platforms" | "subdirs" | "ci" | "answers" | "artifacts"
>;

/** What sources are opened with. @throws UsageError BAD_FLAG */
export function sourceContext(
  options: SourceOptions,
  settings: Settings,
  held: Clients & Pick<SourceContext, "retry" | "env" | "scratch" | "warn" | "onCheck" | "onRead">,
): SourceContext {
  const { http, retry } = held;
  return {
    ...held,
    s3: s3Of(settings),
    channels: channelLookup({ http, retry }),
    mirrors: (options.mirrorOf ?? []).map(parseMirrorOf),
    members: options.sourcePath === undefined ? undefined : memberPattern(options.sourcePath),
    lock: { environments: options.environments ?? [], platforms: options.platforms ?? [] },
    concurrency: settings.max_concurrent_downloads,
    subdirs: options.subdirs,
    channelAlias: settings.channel_alias,
    tokens: settings,
    answers: options.answers ?? answerMemory(),
    artifacts: options.artifacts ?? new Map(),
    ci: options.ci ?? {},
  };
}
