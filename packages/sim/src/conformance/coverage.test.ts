// Every procedure that simulated hosts implement is compared with a real libvirtd in some part of the suite, or stands here
// with the reason why not. The scripts run against simulated hosts alone: that they say the same is the suite's matter.
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { procedureTable } from "#procedure/table.ts";
import { parts } from "./part.ts";
import { simulatedPair } from "./simulated.ts";
import { transcribed } from "./transcript.ts";

/** By reason. */
const NOT_COMPARED: Readonly<Record<string, readonly string[]>> = {
  "the older or the narrower spelling of one that is compared, answered by the same function": [
    "connectListDefinedDomains",
    "connectListDefinedNetworks",
    "connectListDefinedStoragePools",
    "connectListDomains",
    "connectListNetworks",
    "connectListAllNetworks",
    "connectListStoragePools",
    "connectNumOfDefinedDomains",
    "connectNumOfDefinedNetworks",
    "connectNumOfDefinedStoragePools",
    "connectNumOfDomains",
    "connectNumOfNetworks",
    "connectNumOfSecrets",
    "connectNumOfStoragePools",
    "domainAbortJobFlags",
    "domainAttachDevice",
    "domainBlockStats",
    "domainDetachDevice",
    "domainDetachDeviceAlias",
    "domainGetMaxMemory",
    "domainGetMaxVcpus",
    "domainHasCurrentSnapshot",
    "domainSetMaxMemory",
    "domainSetMemory",
    "domainSetVcpus",
    "domainShutdownFlags",
    "domainSnapshotHasMetadata",
    "domainSnapshotListAllChildren",
    "domainSnapshotListChildrenNames",
    "domainSnapshotNum",
    "networkCreateXmlFlags",
    "networkDefineXmlFlags",
    "networkGetAutostart",
    "networkLookupByUuid",
    "storagePoolIsActive",
    "storagePoolListVolumes",
    "storagePoolLookupByVolume",
    "storagePoolNumOfVolumes",
  ],
  "the answer is the machine's own": [
    "connectCompareCpu",
    "connectCompareHypervisorCpu",
    "connectGetCpuModelNames",
    "connectGetHostname",
    "connectGetSysinfo",
    "nodeGetCpuMap",
    "nodeGetFreePages",
  ],
  "the suite's libvirtd has no cgroups, which it needs": [
    "domainGetCpuStats",
    "domainGetMemoryParameters",
    "domainSetMemoryParameters",
    "domainGetSchedulerParameters",
    "domainGetSchedulerParametersFlags",
    "domainGetSchedulerType",
    "domainSetSchedulerParameters",
    "domainSetSchedulerParametersFlags",
    "domainPinEmulator",
    "domainPinVcpu",
    "domainPinVcpuFlags",
    "domainGetEmulatorPinInfo",
    "domainGetVcpuPinInfo",
    "domainGetVcpus",
  ],
  "the suite's libvirtd has no such driver, or no security labels": [
    "connectListAllInterfaces",
    "connectListInterfaces",
    "connectNumOfInterfaces",
    "interfaceIsActive",
    "interfaceLookupByName",
    "connectListAllNodeDevices",
    "nodeNumOfDevices",
    "connectNodeDeviceEventRegisterAny",
    "connectNodeDeviceEventDeregisterAny",
    "connectListAllNwfilters",
    "domainGetSecurityLabel",
    "domainGetSecurityLabelList",
    "domainGetLaunchSecurityInfo",
    "nodeGetSecurityModel",
    "networkListAllPorts",
  ],
  "nothing of it shows in an answer": [
    "connectRegisterCloseCallback",
    "connectUnregisterCloseCallback",
    "connectSetIdentity",
    "connectDomainMonitorEventRegister",
    "connectDomainMonitorEventDeregister",
    "connectSecretEventRegisterAny",
    "connectSecretEventDeregisterAny",
  ],
  "it needs a guest with a system in it; the suite's guests boot nothing": [
    "domainAgentSetResponseTimeout",
    "domainInterfaceAddresses",
    "domainReboot",
  ],
};

test("every procedure is compared, or has a reason not to be", { timeout: 120_000 }, async () => {
  const folder = "/srv/conformance";
  const pair = simulatedPair(folder);
  for (const part of parts) await transcribed(part, pair.open, folder);
  const called = pair.called();
  const missing = procedureTable.implemented.filter((name) => !called.has(name)).toSorted();
  assert.deepEqual(missing, Object.values(NOT_COMPARED).flat().toSorted());
});
