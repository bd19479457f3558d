import assert from "node:assert/strict";
import { test } from "node:test";
import { forLibvirt } from "./older-libvirt.ts";

function xml(inside: string): string {
  return `<domain><os firmware="efi"><type>hvm</type>${inside}<loader secure="yes"/></os></domain>`;
}

test("firmware features are left out where libvirt's schema does not know them, and only there", () => {
  const features = '<firmware><feature enabled="yes" name="secure-boot"/></firmware>';
  assert.equal(forLibvirt(xml(features), 7_002_000n), xml(features));
  assert.equal(forLibvirt(xml(features), 7_000_000n).trim(), xml(""));
  assert.equal(forLibvirt(xml(""), 7_000_000n), xml(""));
});
