// needs registry
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MirrorOptions, mirror } from "../src/main.ts";
import { type BuiltPackage, buildConda, buildTarBz2 } from "./packages/builder.ts";
import { startRegistry, USER } from "./servers/registry.ts";
import { temporary, written } from "./support/folders.ts";
import { at, listedIn, pulled, pushing, registry, registryIsHere } from "./support/oci.ts";

/** Follows a folder of packages: what is not in it any more goes. */
const following = (push: ReturnType<typeof pushing>, target: string) => {
  let now = at.now();
  const warnings: string[] = [];
  return {
    warnings,
    days(n: number) {
      now += n * 24 * 60 * 60 * 1000;
    },
    run(packages: readonly BuiltPackage[], more: Partial<MirrorOptions> = {}) {
      warnings.length = 0;
      const onEvent: MirrorOptions["onEvent"] = (e) => void (e.type === "warning" && warnings.push(e.message));
      const clock = { ...at, now: () => now };
      const sources = written(temporary(), packages);
      return push(target, sources, { delete: true, maxDelete: "100%", clock, onEvent, ...more });
    },
  };
};
const hasImage = (channel: string, { fileName }: BuiltPackage, from = registry) => {
  const [, name, version, build, kind] = /^(.+)-([^-]+)-([^-]+?)\.(conda|tar\.bz2)$/.exec(fileName) ?? [];
  const type = `application/vnd.conda.package.${kind === "conda" ? "v2" : "v1"}`;
  const image = from.manifest(`${channel}/noarch/${name}`, `${version}-${build}`);
  return image?.layers.some((l) => l.mediaType === type) ?? false;
};

test(
  "a channel in a registry loses what its sources lose: records at once, images after the grace period",
  registryIsHere,
  async () => {
    const channel = "org/follow";
    const [a, b, both, bz2] = [
      buildConda({ name: "a" }),
      buildConda({ name: "b" }),
      buildConda({ name: "both" }),
      buildTarBz2({ name: "both" }),
    ];
    const { run, days, warnings } = following(pushing(), `oci://${registry.host}/${channel}`);
    assert.deepEqual((await run([a, b, both, bz2])).added, 4);
    const planned = await run([a, both], { dryRun: true });
    assert.deepEqual(
      planned.plan
        ?.filter((s) => s.do === "remove")
        .map((s) => s.fileName)
        .sort(),
      [b.fileName, bz2.fileName],
    );
    const report = await run([a, both]);
    assert.deepEqual([report.exitCode, report.removed, report.kept], [0, 2, 2], JSON.stringify(report));
    assert.deepEqual(listedIn(channel, "noarch"), [a.fileName, both.fileName]);
    const images = () => [a, b, both, bz2].map((p) => hasImage(channel, p));
    assert.deepEqual(images(), [true, true, true, true], "clients with an older index still fetch them");
    days(6);
    assert.equal((await run([a, both])).removed, 0);
    assert.deepEqual(images(), [true, true, true, true]);
    days(2);
    await run([a, both]);
    assert.deepEqual(images(), [true, false, true, false]);
    pulled(`${channel}/noarch/both`, "1.0-0");
    assert.deepEqual(registry.tags(`${channel}/noarch/b`), []);
    // Back again, it is sent anew.
    assert.deepEqual([(await run([a, b, both])).added, hasImage(channel, b)], [1, true]);
    assert.equal((await run([a, both], { keepRemoved: true })).removed, 1);
    days(30);
    await run([a, both], { keepRemoved: true });
    assert.ok(hasImage(channel, b), "files stay");
    assert.equal((await run([both], { settings: { delete_grace_days: 0 } })).removed, 1);
    assert.deepEqual([hasImage(channel, a), listedIn(channel, "noarch")], [false, [both.fileName]]);
    assert.deepEqual(warnings, []);
  },
);

test(
  "what a registry does not let us remove stays, is told once, and is asked for again later",
  registryIsHere,
  async () => {
    const channel = "org/nodelete";
    const [a, ...others] = ["a", "b", "c"].map((name) => buildConda({ name })) as [BuiltPackage, ...BuiltPackage[]];
    const { run, days, warnings } = following(pushing(), `oci://${registry.host}/${channel}`);
    await run([a, ...others]);
    const body = JSON.stringify({ errors: [{ code: "UNSUPPORTED", message: "The operation is unsupported." }] });
    registry.misdeeds.set(
      `DELETE /v2/${channel}/`,
      [405, 405, 405, 405].map((status) => ({ status, body })),
    );
    assert.equal((await run([a])).removed, 2);
    days(8);
    const report = await run([a]);
    assert.equal(report.exitCode, 0);
    assert.match(warnings[0] ?? "", /noarch: 2 of 2 files .* stay, .*405.*unsupported/);
    assert.equal(warnings.length, 1);
    assert.ok(others.every((p) => hasImage(channel, p)));
    assert.deepEqual(listedIn(channel, "noarch"), [a.fileName]);
    registry.misdeeds.clear();
    const before = registry.requests.length;
    await run([a]);
    assert.ok(registry.requests.slice(before).every((r) => r.method !== "DELETE"));
    days(8);
    await run([a]);
    assert.deepEqual(warnings, []);
    assert.ok(others.every((p) => !hasImage(channel, p)));
  },
);

test("leave to delete is asked for where something is deleted, and nowhere else", registryIsHere, async () => {
  const guarded = await startRegistry("token");
  const HOME = temporary();
  const env = { HOME, ORAS_USER: USER.username, ORAS_PASS: USER.password };
  const push: ReturnType<typeof pushing> = (target, sources, more) => mirror({ sources, target, ...more, env });
  const [a, b] = [buildConda({ name: "a" }), buildConda({ name: "b" })];
  const { run } = following(push, `oci://${guarded.host}/org/scopes`);
  const scopes = () =>
    new Set(guarded.requests.flatMap((r) => /scope=([^&]+)/.exec(decodeURIComponent(r.path))?.[1] ?? []));
  await run([a, b]);
  assert.ok([...scopes()].every((s) => s.endsWith(":pull,push")));
  await run([a], { settings: { delete_grace_days: 0 } });
  assert.ok(scopes().has("repository:org/scopes/noarch/b:pull,push,delete"));
  assert.ok(!hasImage("org/scopes", b, guarded));
});

test("a package that another run lists again right before it is removed stays", registryIsHere, async () => {
  const [a, b] = [buildConda({ name: "a" }), buildConda({ name: "b" })];
  const files = written(temporary(), [a, b]) as [string, string];
  const channel = "org/meet";
  const target = `oci://${registry.host}/${channel}`;
  await pushing()(target, files);
  let added: number | undefined;
  registry.hold = {
    what: `GET /v2/${channel}/noarch/a/manifests/1.0-0`,
    // It is looked for, and looked at once more when it is its turn.
    after: 1,
    until: async () => {
      assert.deepEqual(listedIn(channel, "noarch"), [b.fileName]);
      added = (await pushing()(target, files)).added;
    },
  };
  const settings = { delete_grace_days: 0 };
  const removing = await pushing()(target, [files[1]], { delete: true, maxDelete: "100%", settings });
  assert.deepEqual([removing.exitCode, added], [0, 1]);
  assert.deepEqual(listedIn(channel, "noarch"), [a.fileName, b.fileName]);
  assert.ok(hasImage(channel, a));
});
