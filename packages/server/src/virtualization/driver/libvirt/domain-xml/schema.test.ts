/**
 * Every kind of change, applied to every golden domain and to every domain of libvirt's own tests, leaves a domain that
 * libvirt's schema allows, if it was allowed before.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, suite, test } from "node:test";
import { AppError } from "#core/app-error.ts";
import { type Element, parseXml, serializeXml } from "#libvirt/xml.ts";
import type { GuestChange } from "#virtualization/port.ts";
import { libvirtTests } from "../test-support/libvirt-source.ts";
import { applyChange } from "./apply-change.ts";
import { retarget } from "./retarget.ts";
import { readSpec } from "./spec.ts";

const schema = "/usr/share/libvirt/schemas/domain.rng";
const validator = "/usr/bin/xmllint";
const missing = [schema, validator].filter((file) => !existsSync(file));
const skip = missing.length > 0 && `needs ${missing.join(", ")} of Debian's libvirt0 and libxml2-utils`;
const { folder: testFolder } = libvirtTests();
const sources = [
  ...globSync(path.join(import.meta.dirname, "golden/*/expected.xml")),
  ...globSync(path.join(testFolder, "*xml2*data/*.xml")).filter((file) =>
    /<domain[\s>]/.test(readFileSync(file, "utf8")),
  ),
].toSorted();

const metadata = {
  vmId: "vm-0123456789ab",
  description: "a <b>",
  tags: ["x"],
  folder: "Production/Web",
  template: false,
  createdAt: "2026-01-02T03:04:05.000Z",
  snapshots: [{ id: "snap-1" }],
  currentSnapshotId: "snap-1",
};
const disk = {
  target: "vdzz",
  device: "disk",
  bus: "virtio",
  sourceType: "file",
  source: "/v/z.qcow2",
  format: "qcow2",
};
const ioLimit = { totalBytesPerSecond: 1_000_000, readIops: 10, writeIops: 20 };
const nic = { mac: "52:54:00:aa:bb:cc", type: "bridge", network: "br0", linkUp: false, bootOrder: 1 };

const changes: Readonly<Record<string, GuestChange>> = {
  cpu: {
    cpu: {
      count: 2,
      maxCount: 4,
      shares: 2000,
      limitPct: 150,
      pinning: [{ vcpu: 1, hostCpus: "0-3,^2" }],
      emulatorPinning: "1",
    },
  },
  model: { cpu: { model: "EPYC", count: 4, maxCount: 4, topology: { sockets: 1, cores: 2, threads: 2 } } },
  memory: { memory: { limitMiB: 9000, hugepageKiB: 2048, locked: true, shares: 2000, reservationMiB: 10 } },
  numa: {
    cpu: { count: 2, maxCount: 2 },
    memory: {
      numaCells: [
        { cpus: "0", memoryMiB: 512, hostNodes: "0" },
        { cpus: "1", memoryMiB: 512 },
      ],
    },
  },
  disk: {
    disksAdd: [{ ...disk, device: "disk", ioLimit, serialNumber: "s", cache: "none", io: "native", bootOrder: 1 }],
  },
  nic: { nicsAdd: [nic] },
  metadata: { metadata },
  display: {
    hardware: { graphics: "vnc", video: "virtio", serial: true, guestAgent: true, balloon: true, ioThreads: 3 },
  },
  headless: {
    hardware: { graphics: "none", video: "none", serial: false, guestAgent: false, balloon: false, ioThreads: 0 },
  },
  secure: { hardware: { machine: "q35", firmware: "uefi-secure", tpm: true } },
  bios: { hardware: { machine: "pc", firmware: "bios", tpm: false } },
};

suite("changes keep a domain valid", { skip }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), "inn-schema-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Names of the documents that the schema does not allow. */
  function invalid(documents: ReadonlyMap<string, string>): Set<string> {
    const files = new Map([...documents.keys()].map((name, index) => [path.join(folder, `${index}.xml`), name]));
    for (const [file, name] of files) writeFileSync(file, documents.get(name) ?? "");
    const refused = new Set<string>();
    const names = [...files.keys()];
    for (let at = 0; at < names.length; at += 500) {
      for (const file of validate(names.slice(at, at + 500))) refused.add(files.get(file) ?? file);
    }
    return refused;
  }

  const originals = new Map(sources.map((file) => [file, readFileSync(file, "utf8")]));
  const before = skip === false ? invalid(originals) : new Set<string>();

  test("the schema allows most of what libvirt's tests hold", (context) => {
    context.diagnostic(`${originals.size} domains, ${before.size} not allowed as they are`);
    assert(before.size < originals.size / 4);
  });

  for (const [name, change] of Object.entries(changes)) {
    test(`${name}: valid afterwards`, (context) => {
      const changed = edited((root) => applyChange(root, change));
      assert(changed.size > originals.size / 4, `${changed.size} of ${originals.size}`);
      context.diagnostic(`${changed.size} domains`);
      assert.deepEqual(
        [...invalid(changed)].map((file) => path.basename(file)),
        [],
      );
    });
  }

  test("another identity: valid afterwards", () => {
    const uuid = "6f2f5d2c-52b5-4a47-8e0a-3a1b7f0c9d11";
    const changed = edited((root) => {
      const disks = readSpec(root).disks.filter((each) => each.device === "disk" && each.target !== "");
      const sources = new Map(disks.map((each) => [each.target, { path: "/new.qcow2", format: "qcow2" }]));
      retarget(root, { name: "copy", uuid, newMacs: true, metadata, disks: sources });
    });
    assert.deepEqual(
      [...invalid(changed)].map((file) => path.basename(file)),
      [],
    );
  });

  /** The documents that were valid and take the edit. */
  function edited(edit: (root: Element) => void): Map<string, string> {
    const changed = new Map<string, string>();
    for (const [file, xml] of originals) {
      if (before.has(file)) continue;
      const root = parseXml(xml);
      try {
        edit(root);
      } catch (error) {
        if (error instanceof AppError) continue;
        throw error;
      }
      changed.set(file, serializeXml(root));
    }
    return changed;
  }
});

function validate(files: readonly string[]): string[] {
  try {
    execFileSync(validator, ["--noout", "--relaxng", schema, ...files], { stdio: "pipe", maxBuffer: 2 ** 28 });
    return [];
  } catch (error) {
    const output = String((error as { stderr?: unknown }).stderr ?? "");
    return [...output.matchAll(/^(\S+\.xml) fails to validate$/gm)].map(([, file]) => file ?? "");
  }
}
