import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHostUri } from "./host-uri.ts";

const strict = { allowPlainTcp: false };

test("accepts what libvirt's own URIs have", () => {
  const accepted = [
    "qemu:///system",
    "qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
    "qemu+tls://node1.example.org/system",
    "qemu+tls://10.0.0.5:16514/system",
    "qemu+tls://[fd00::5]/system",
    "qemu+ssh://root@node1/system",
    "qemu+tcp://localhost/system",
    "qemu+tcp://127.0.0.2:16509/system",
    "qemu+tcp://[::1]/system",
    "test:///default",
    "lxc:///system",
  ];
  for (const uri of accepted) assert.equal(checkHostUri(uri, strict).text, uri);
});

test("refuses what is unsafe or not a URI, naming the field and the reason", () => {
  const refused: [string, RegExp][] = [
    ["qemu+tcp://10.0.0.5/system", /plain TCP/],
    ["qemu+tcp://127.evil.example/system", /plain TCP/],
    ["qemu+tls://node1/system?no_verify=1", /no_verify/],
    ["qemu+tls://node1/system?pkipath=/root", /pkipath/],
    ["qemu+ssh://node1/system?keyfile=/root/.ssh/id", /keyfile/],
    ["qemu+ssh://node1/system?command=/bin/sh", /command/],
    ["qemu+ssh://node1/system?netcat=/bin/sh", /netcat/],
    ["qemu+unix:///system?socket=relative", /absolute/],
    ["qemu+ssh://root:secret@node1/system", /password/],
    ["qemu+tls://-oProxyCommand=x/system", /host name|parsed/],
    ["qemu+pigeon://node1/system", /transport/],
    ["node1", /scheme/],
  ];
  for (const [uri, words] of refused) {
    assert.throws(() => checkHostUri(uri, strict), { code: "invalid_field", field: "uri", message: words }, uri);
  }
  const shared = { allowPlainTcp: false, isShared: true };
  assert.throws(() => checkHostUri("qemu:///system", shared), { code: "invalid_field", message: /share this store/ });
  assert.equal(checkHostUri("qemu+ssh://root@kvm1/system", shared).transport, "ssh");
  assert.equal(checkHostUri("qemu+tcp://10.0.0.5/system", { allowPlainTcp: true }).transport, "tcp");
});
