/** Why options are refused, by the name that tables refer to them with. Every reason says what to do instead. */

const reasons = {
  path: "it names a file or device of the host, which Innkeeper gives VMs only as a volume of a storage pool.",
  address: "it opens or reaches a network address from the host. Use a pty and `inn vm console`.",
  device: "physical devices of hosts are not assigned by Innkeeper. Add it on the host with virsh edit.",
  kernel:
    "a kernel would have to lie as a file on the host. Install from an ISO with --cdrom, or start from a cloud image with --import.",
  container: "containers are not made by Innkeeper.",
  confinement: "how a guest is confined is the host's decision (libvirt's security driver).",
  cgroup: "the control groups of a host are laid out by its libvirt.",
  hypervisor: "arguments for QEMU by hand bypass every check. Add them on the host with virsh edit.",
  share: "folders of the host are not shared with guests. Give the VM a disk, or use a network file system.",
  firmware: "firmware is chosen by its kind, as its files differ from host to host: --boot uefi.",
  secret: "secrets of the host's libvirt are not used by Innkeeper.",
  network: "Innkeeper attaches network cards to libvirt networks and bridges: network=NAME, bridge=NAME.",
  remoteDisk:
    "disks that the host reaches by itself are not supported. Make a storage pool of it: inn pool create --help.",
  backing: "an image knows its own format: leave it out.",
  os: "the system is chosen in one place: --osinfo.",
  edit: "there is nothing to clear in a new VM; it is virt-xml's.",
  platform: "the emulator and the guest's type are the host's.",
  hostFile: "it is a file on this machine that a host would have to read.",
  unattended:
    "answer files are not written by Innkeeper. Use a cloud image with --cloud-init, or an ISO that answers itself.",
  transient: "VMs are always kept: delete it with `inn vm delete` when it is done.",
  reinstall: "only new VMs are installed. Put the medium in with `inn vm set` and start from it.",
  paravirt: "guests of Xen are not made by Innkeeper.",
  display: "a screen is reached over VNC or SPICE: --graphics vnc.",
  test: "it is for virt-install's own tests.",
} as const;

export function refusalReason(reference: string): string {
  const name = reference.slice(1);
  return Object.hasOwn(reasons, name) ? reasons[name as keyof typeof reasons] : name;
}
