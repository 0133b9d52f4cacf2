import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { multipart } from "./multipart.ts";

test("a form has the length that it says, can be sent twice, and its values come out as they went in", async () => {
  // A name that holds one of the three escapes literally can't be told from one that was escaped: browsers' rules are so.
  const name = fc.string().filter((text) => !/%(?:0D|0A|22)/i.test(text));
  const part = fc.record({ name, value: fc.string({ unit: "binary" }) });
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 5 }), async (parts) => {
      const { contentType, body } = multipart(parts);
      const whole = async () => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of body.open()) chunks.push(chunk);
        return Buffer.concat(chunks);
      };
      const bytes = await whole();
      assert.equal(bytes.length, body.size);
      assert.deepEqual(await whole(), bytes);
      // undici's own reader of forms, which browsers' rules are tested with.
      const form = await new Response(bytes, { headers: { "content-type": contentType } }).formData();
      const plain = (text: string) => text.toWellFormed().replace(/\r\n?|\n/g, "\n");
      const read = [...form].map(([name, value]) => [plain(name), plain(String(value))]);
      assert.deepEqual(
        read,
        parts.map((p) => [plain(p.name), plain(p.value)]),
      );
    }),
  );
});
