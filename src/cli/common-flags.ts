import { type Command, Option } from "commander";

/** Flags that every command takes, as commander parses them. */
export interface CommonFlags {
  readonly config?: string;
  readonly logLevel?: string;
  readonly logFormat: "pretty" | "json";
  readonly progress: "auto" | "always" | "never" | false;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly color?: boolean;
}

/** Flags of commands that read or write S3. */
export interface S3Flags {
  readonly s3Region?: string;
  readonly s3Endpoint?: string;
  readonly s3AddressingStyle?: "auto" | "path" | "virtual-host";
  readonly s3Anonymous?: boolean;
}

/** Adds the flags that every command takes. */
export function common(command: Command): Command {
  return command
    .exitOverride()
    .option("-c, --config <file>", "a configuration file: .json, .yaml or .toml")
    .addOption(
      new Option("--log-level <level>", "default info, or MESO_FORGE_LOG").choices([
        "trace",
        "debug",
        "info",
        "warn",
        "error",
        "silent",
      ]),
    )
    .addOption(new Option("--log-format <format>").choices(["pretty", "json"]).default("pretty"))
    .addOption(new Option("--progress <when>").choices(["auto", "always", "never"]).default("auto"))
    .option("--no-progress", "as --progress never")
    .option("--json", "one JSON document on stdout at the end, nothing else there")
    .option("-q, --quiet", "errors only")
    .option("-v, --verbose", "more about everything, with the stack of errors")
    .option("--no-color", "no colours; so does NO_COLOR");
}

/** Adds the flags about S3. */
export function s3(command: Command): Command {
  return command
    .option("--s3-endpoint <url>", "an S3 server that is not AWS, such as http://localhost:9000")
    .option("--s3-region <region>", "the region of the bucket; AWS tells it")
    .addOption(
      new Option("--s3-addressing-style <style>", "where the bucket's name goes; path for servers of your own").choices(
        ["auto", "path", "virtual-host"],
      ),
    )
    .option("--s3-anonymous", "sign no requests to S3");
}
