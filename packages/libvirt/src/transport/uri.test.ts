import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { describe, test } from "node:test";
import { ConnectError } from "#rpc/error.ts";
import { remoteEnd } from "./ssh-command.ts";
import { parseUri } from "./uri.ts";

describe("URIs", () => {
  test("transport, host and the name that the daemon is told", () => {
    const cases: [string, string, string, number | null, string][] = [
      ["qemu:///system", "unix", "", null, "qemu:///system"],
      ["test:///default?socket=/tmp/s", "unix", "", null, "test:///default"],
      ["qemu+unix:///system?mode=legacy", "unix", "", null, "qemu:///system"],
      ["qemu://host/system", "tls", "host", null, "qemu:///system"],
      ["qemu+tls://host.example:1234/system?no_verify=1&pkipath=/p", "tls", "host.example", 1234, "qemu:///system"],
      ["qemu+tcp://[2001:db8::1]:16509/system", "tcp", "2001:db8::1", 16509, "qemu:///system"],
      ["qemu+ssh://root@h/system?keyfile=/k&extra=1", "ssh", "h", null, "qemu:///system?extra=1"],
      ["qemu+libssh2://h/system", "ssh", "h", null, "qemu:///system"],
      ["xen+tcp:///", "tcp", "localhost", null, "xen:///"],
      ["lxc+tcp://h/system?name=lxc:///other", "tcp", "h", null, "lxc:///other"],
      ["remote+tls://h/", "tls", "h", null, ""],
      ["test+tcp://h/default", "tcp", "h", null, "test:///default"],
    ];
    for (const [text, transport, host, port, name] of cases) {
      const uri = parseUri(text);
      assert.deepEqual([uri.transport, uri.host, uri.port, uri.name], [transport, host, port, name], text);
    }
    assert.equal(parseUri("qemu+ssh://some%40one@h/system").user, "some@one");
  });

  test("what is no libvirt URI is refused with the reason", () => {
    const cases: [string, RegExp][] = [
      ["", /no scheme/u],
      ["host", /no scheme/u],
      ["qemu+carrier://h/", /unknown transport carrier/u],
      ["qemu+unix://h/system", /unix socket/u],
      ["qemu+ssh://a:b@h/", /password/u],
      ["qemu+tcp://h:99999/", /parsed/u],
    ];
    for (const [text, message] of cases)
      assert.throws(
        () => parseUri(text),
        (error) => error instanceof ConnectError && error.failure === "uri" && message.test(error.message),
        text,
      );
  });
});

function command(text: string): string {
  return remoteEnd(parseUri(text), false).command.replaceAll(String.raw`'\''`, "'");
}

describe("the far side of SSH", () => {
  test("helper, netcat or a forwarded socket", () => {
    const auto = command("qemu+ssh://h/system");
    assert.match(
      auto,
      /^sh -c 'if command -v virt-ssh-helper .*; exec virt-ssh-helper 'qemu:\/\/\/system'; else if command -v nc /u,
    );
    assert.match(auto, /-U '\/var\/run\/libvirt\/libvirt-sock'; else echo "innkeeper: none"/u);
    assert.equal(command("qemu+ssh://h/system?socket=/s").includes("virt-ssh-helper"), false);
    assert.equal(remoteEnd(parseUri("qemu+ssh://h/system?socket=/s"), false).socket, "/s");
    assert.equal(remoteEnd(parseUri("qemu+ssh://h/system"), true).socket, "/var/run/libvirt/libvirt-sock-ro");
    assert.equal(command("qemu+ssh://h/session").includes("nc"), false);
    assert.throws(() => command("qemu+ssh://h/system?proxy=native&socket=/s"), ConnectError);
    assert.throws(() => command("qemu+ssh://h/system?proxy=odd"), ConnectError);
  });

  test("nothing from the URI becomes shell", () => {
    const evil = `/x'; echo evil; '`;
    const { command: text } = remoteEnd(
      parseUri(`qemu+ssh://h/system?netcat=${encodeURIComponent(evil)}&socket=${encodeURIComponent(evil)}`),
      false,
    );
    const said = execFileSync("sh", ["-c", `${text} 2>&1 || :`], { encoding: "utf8" });
    assert.equal(said.split("\n").includes("evil"), false, said);
    assert.match(said, /not found/u);
  });
});
