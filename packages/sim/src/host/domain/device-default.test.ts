/** Root ports without an index, as virt-install lists them for q35: libvirt numbers them, and adds no more each time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAny } from "#xml/document.ts";
import { elements, find } from "#xml/element.ts";
import { Random } from "#host/random.ts";
import { completeDevices } from "./device-default.ts";

const ports = '<controller type="pci" model="pcie-root-port"/>'.repeat(3);

test("controllers without an index are numbered; a definition that is given again is as it was", () => {
  const domain = parseAny(
    `<domain type="qemu"><os><type machine="pc-q35-7.2">hvm</type></os><devices>${ports}</devices></domain>`,
    "domain",
  );
  const devices = find(domain, "devices");
  assert(devices !== undefined);
  const pci = (): (string | undefined)[] =>
    elements(devices, "controller").flatMap(({ attributes }) =>
      attributes.get("type") === "pci" ? [`${attributes.get("index")} ${attributes.get("model")}`] : [],
    );
  completeDevices(domain, devices, new Random(1));
  const first = pci();
  assert.ok(first.includes("0 pcie-root"), first.join());
  assert.deepEqual(
    [1, 2, 3].map((index) => first.includes(`${index} pcie-root-port`)),
    [true, true, true],
  );
  completeDevices(domain, devices, new Random(1));
  assert.deepEqual(pci(), first);
});
