// Which procedures a read-only client may call: those that look and do not touch. libvirt checks it function by function
// (virCheckReadOnlyGoto); the names tell the same.

const LOOKS =
  /^(?:auth|connect(?!DomainXmlFromNative|DomainXmlToNative|FindStoragePoolSources|SetIdentity|SetKeepAlive)|nodeGet|nodeNum|nodeList|nodeDevice(?:Get|Is|List|Lookup|Num)|(?:domain|network|networkPort|interface|storagePool|storageVol|secret|nwfilter|nwfilterBinding|domainSnapshot|domainCheckpoint)(?:Get|Has|Is|List|Lookup|Num))/u;

/** Those that look by their name and yet want more. */
const TOUCHES = new Set([
  "domainGetHostname",
  "domainGetTime",
  "domainGetGuestVcpus",
  "domainGetGuestInfo",
  "domainGetFsinfo",
  "secretGetValue",
  "domainMemoryPeek",
]);
const ALSO = new Set([
  "domainBlockStats",
  "domainBlockStatsFlags",
  "domainInterfaceStats",
  "domainMemoryStats",
  "domainInterfaceAddresses",
  "domainSnapshotCurrent",
]);

export function isReadOnlyCall(procedure: string): boolean {
  return ALSO.has(procedure) || (LOOKS.test(procedure) && !TOUCHES.has(procedure));
}
