import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Ajv, type ValidateFunction } from "ajv";
import formats from "ajv-formats";

/** GitHub's own description of its API (@octokit/openapi): what our server answers is held to it. */
interface Description {
  readonly paths: Record<string, Record<string, { responses: Record<string, Response> }>>;
  readonly components: Record<string, Record<string, unknown>>;
}

interface Response {
  readonly $ref?: string;
  readonly content?: Record<string, { schema: unknown }>;
}

const require = createRequire(import.meta.url);
const description = JSON.parse(
  readFileSync(require.resolve("@octokit/openapi/generated/api.github.com.json"), "utf8"),
) as Description;
const ajv = new Ajv({ strict: false, allErrors: true });
formats.default(ajv);

/** Path templates with a pattern each; those without a variable come first, as routers have it. */
const templates = Object.keys(description.paths)
  .map((path) => ({
    path,
    pattern: new RegExp(`^${path.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{[^}]+\}/g, "[^/]+")}$`),
  }))
  .sort((a, b) => count(a.path) - count(b.path));

function count(path: string): number {
  return path.split("{").length;
}

const validators = new Map<string, ValidateFunction | undefined>();

/**
 * Holds an answer to the description.
 * @param path as asked for, without query
 * @returns what is wrong with it; undefined when nothing is
 */
export function violation(path: string, status: number, body: unknown): string | undefined {
  const template = templates.find((t) => t.pattern.test(path))?.path;
  if (template === undefined) return `no operation of GitHub's has the path ${path}`;
  const key = `${template} ${status}`;
  try {
    if (!validators.has(key)) validators.set(key, validatorOf(template, status));
  } catch (e) {
    return (e as Error).message;
  }
  const validate = validators.get(key);
  if (!validate) return body === undefined ? undefined : `${key} has no body`;
  if (validate(body)) return undefined;
  return `${key}: ${ajv.errorsText(validate.errors)}`;
}

function validatorOf(template: string, status: number): ValidateFunction | undefined {
  const said = description.paths[template]?.["get"]?.responses[status];
  // Every operation may refuse for want of a token, and knows renamed repositories; few of them list it.
  if (!said && ![301, 401, 403, 404, 429, 502].includes(status))
    throw new Error(`GitHub's description has no ${status} for ${template}`);
  const response = said?.$ref === undefined ? said : (at(said.$ref) as Response);
  const schema = said ? response?.content?.["application/json"]?.schema : { $ref: "#/components/schemas/basic-error" };
  return schema === undefined ? undefined : ajv.compile(alone(schema));
}

/** A schema with all that it refers to, and nothing else: the whole description takes seconds to compile. */
function alone(schema: unknown): object {
  const definitions: Record<string, unknown> = {};
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    const { $ref } = value as { $ref?: unknown };
    if (typeof $ref === "string") {
      const name = $ref.split("/").at(-1) as string;
      if (!(name in definitions)) {
        definitions[name] = true;
        definitions[name] = walk(at($ref));
      }
      return { $ref: `#/definitions/${name}` };
    }
    const copy = Object.fromEntries(Object.entries(value).map(([k, v]) => [k, walk(v)]));
    // OpenAPI 3.0 writes null without a type where JSON Schema can't.
    if (copy["nullable"] !== true || "type" in copy) return copy;
    const { nullable: _, ...rest } = copy;
    return { anyOf: [rest, { type: "null" }] };
  };
  const root = walk(schema) as object;
  return { ...root, definitions };
}

function at(ref: string): unknown {
  return ref
    .slice(2)
    .split("/")
    .reduce<unknown>((value, part) => (value as Record<string, unknown>)[part], description);
}
