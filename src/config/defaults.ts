import type { Settings } from "./settings.ts";

/** The settings where nothing says otherwise; the same as the schema's defaults, which a test holds them to. */
export const DEFAULTS: Settings = {
  max_concurrent_downloads: 5,
  packages_per_round: 20_000,
  retry_attempts: 3,
  timeout_seconds: 300,
  limit_rate: null,
  s3_region: null,
  s3_endpoint: null,
  s3_addressing_style: "auto",
  s3_anonymous: false,
  github_token: null,
  azure_devops_token: null,
  github_api_url: "https://api.github.com",
  azure_devops_url: "https://dev.azure.com",
  zstd_level: null,
  write_zst: true,
  write_bz2: false,
  write_shards: true,
  write_current_repodata: true,
  write_run_exports: true,
  write_channeldata: true,
  write_html: true,
  delete_grace_days: 7,
  channel_alias: "https://conda.anaconda.org",
  base_url: null,
  shard_grace_days: 7,
  lock_file: null,
  jobs: [],
};

/** Settings that most runs give, if any, and the whole numbers that each may be. */
const PLAIN: Partial<Record<keyof Settings, readonly [least: number, most: number]>> = {
  max_concurrent_downloads: [1, 1000],
  retry_attempts: [0, 100],
  timeout_seconds: [1, 86_400],
};

/** Settings of S3 that most runs to a bucket give, and the plain forms of each. */
const PLAIN_TEXT: Partial<Record<keyof Settings, RegExp>> = {
  s3_region: /^[a-z0-9-]+$/,
  s3_endpoint:
    /^https?:\/\/[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*(?::[1-9]\d{0,4})?$|^https?:\/\/127\.0\.0\.1(?::[1-9]\d{0,4})?$/,
  s3_addressing_style: /^(?:auto|path|virtual-host)$/,
};

/**
 * Whether values can be seen to be right without the schema, whose library takes longer to load than everything else of a
 * small run together (70 ms of processor time, 17 MB). False says nothing: then the schema decides.
 */
export function plainlyRight(values: Readonly<Record<string, unknown>>): values is Partial<Settings> {
  return Object.entries(values).every(([key, value]) => {
    if (Object.hasOwn(DEFAULTS, key) && typeof DEFAULTS[key as keyof Settings] === "boolean")
      return typeof value === "boolean";
    const form = Object.hasOwn(PLAIN_TEXT, key) ? PLAIN_TEXT[key as keyof Settings] : undefined;
    if (form) return typeof value === "string" && form.test(value) && (key !== "s3_endpoint" || URL.canParse(value));
    const range = Object.hasOwn(PLAIN, key) ? PLAIN[key as keyof Settings] : undefined;
    return (
      range !== undefined && Number.isInteger(value) && (value as number) >= range[0] && (value as number) <= range[1]
    );
  });
}
