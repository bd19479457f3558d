/**
 * Options for the guest as a whole, with their sub-options. `place` is the element below <domain> that the paths start
 * at. Facts: virt-install 4.1 (`--cpu help` and so on; the places are those of virtinst/domain), libvirt 9.0
 * docs/formatdomain.rst.
 */
import { subOptions, type SubOptionTable } from "../sub-option.ts";

interface DomainOption {
  /** "": <domain> itself. */
  readonly place: string;
  readonly first: readonly string[];
  readonly table: SubOptionTable;
  readonly refused?: string;
}

const option = (place: string, first: string | undefined, table: string): DomainOption => ({
  place,
  first: first === undefined ? [] : [first],
  table: subOptions(table, "clearxml !edit"),
});
const refused = (reason: string): DomainOption => ({ place: "", first: [], table: [], refused: reason });

const systemEntries = (block: string, names: string): string =>
  names
    .split(" ")
    .map((name) => `${block}.${name},${block}_${name} ./${block}/entry[@name='${name}']`)
    .join("\n");

export const domainOptions: Readonly<Record<string, DomainOption>> = {
  "--memory": option(
    "",
    "memory",
    `memory -
     currentMemory -
     maxmemory -
     maxMemory,hotplugmemorymax         ./maxMemory mib
     maxMemory.slots,hotplugmemoryslots ./maxMemory/@slots int
     hugepages                          ./memoryBacking/hugepages flag`,
  ),
  "--vcpus": option(
    "",
    "vcpu",
    `vcpu,vcpus -
     vcpu.current -
     maxvcpus -
     cpuset,vcpu.cpuset       - commas
     vcpu.placement,placement ./vcpu/@placement
     sockets                  ./cpu/topology/@sockets int
     dies                     ./cpu/topology/@dies int
     cores                    ./cpu/topology/@cores int
     threads                  ./cpu/topology/@threads int
     vcpus.vcpu*.id           ./vcpus/vcpu[*]/@id int
     vcpus.vcpu*.enabled      ./vcpus/vcpu[*]/@enabled yesno
     vcpus.vcpu*.hotpluggable ./vcpus/vcpu[*]/@hotpluggable yesno
     vcpus.vcpu*.order        ./vcpus/vcpu[*]/@order int`,
  ),
  "--cpu": option(
    "cpu",
    "model",
    `model -
     secure -
     model.fallback   ./model/@fallback
     model.vendor_id  ./model/@vendor_id
     vendor           ./vendor
     mode             ./@mode
     match            ./@match
     check            ./@check
     migratable       ./@migratable onoff
     topology.sockets ./topology/@sockets int
     topology.dies    ./topology/@dies int
     topology.cores   ./topology/@cores int
     topology.threads ./topology/@threads int
     cache.level      ./cache/@level int
     cache.mode       ./cache/@mode
     force -
     require -
     optional -
     disable -
     forbid -
     numa.cell*.id,cell*.id         ./numa/cell[*]/@id int
     numa.cell*.cpus,cell*.cpus     ./numa/cell[*]/@cpus commas
     numa.cell*.memory,cell*.memory ./numa/cell[*]/@memory int
     numa.cell*.unit                ./numa/cell[*]/@unit
     numa.cell*.memAccess           ./numa/cell[*]/@memAccess
     numa.cell*.discard             ./numa/cell[*]/@discard yesno
     numa.cell*.distances.sibling*.id,cell*.distances.sibling*.id       ./numa/cell[*]/distances/sibling[*]/@id int
     numa.cell*.distances.sibling*.value,cell*.distances.sibling*.value ./numa/cell[*]/distances/sibling[*]/@value int
     numa.cell*.cache*.level         ./numa/cell[*]/cache[*]/@level int
     numa.cell*.cache*.associativity ./numa/cell[*]/cache[*]/@associativity
     numa.cell*.cache*.policy        ./numa/cell[*]/cache[*]/@policy
     numa.cell*.cache*.size.value    ./numa/cell[*]/cache[*]/size/@value int
     numa.cell*.cache*.size.unit     ./numa/cell[*]/cache[*]/size/@unit
     numa.cell*.cache*.line.value    ./numa/cell[*]/cache[*]/line/@value int
     numa.cell*.cache*.line.unit     ./numa/cell[*]/cache[*]/line/@unit
     numa.interconnects.latency*.initiator   ./numa/interconnects/latency[*]/@initiator int
     numa.interconnects.latency*.target      ./numa/interconnects/latency[*]/@target int
     numa.interconnects.latency*.cache       ./numa/interconnects/latency[*]/@cache int
     numa.interconnects.latency*.type        ./numa/interconnects/latency[*]/@type
     numa.interconnects.latency*.value       ./numa/interconnects/latency[*]/@value int
     numa.interconnects.latency*.unit        ./numa/interconnects/latency[*]/@unit
     numa.interconnects.bandwidth*.initiator ./numa/interconnects/bandwidth[*]/@initiator int
     numa.interconnects.bandwidth*.target    ./numa/interconnects/bandwidth[*]/@target int
     numa.interconnects.bandwidth*.cache     ./numa/interconnects/bandwidth[*]/@cache int
     numa.interconnects.bandwidth*.type      ./numa/interconnects/bandwidth[*]/@type
     numa.interconnects.bandwidth*.value     ./numa/interconnects/bandwidth[*]/@value int
     numa.interconnects.bandwidth*.unit      ./numa/interconnects/bandwidth[*]/@unit`,
  ),
  "--metadata": option(
    "",
    undefined,
    `name         - commas
     title        ./title commas
     uuid         -
     genid        ./genid
     genid_enable ./genid flag
     description  - commas
     os_name      !os
     os_full_id   !os`,
  ),
  "--boot": option(
    "os",
    undefined,
    `hd -
     cdrom -
     fd -
     network -
     refresh-machine-type !edit
     os_type -
     arch -
     machine -
     uefi -
     bootloader       !container
     bootloader_args  !container
     domain_type      !platform
     emulator         !platform
     loader           !firmware
     loader.readonly,loader_ro ./loader/@readonly yesno
     loader.type,loader_type   ./loader/@type
     loader.secure,loader_secure ./loader/@secure yesno
     firmware         ./@firmware
     firmware.feature*.enabled ./firmware/feature[*]/@enabled yesno
     firmware.feature*.name    ./firmware/feature[*]/@name
     nvram            !firmware
     nvram.template,nvram_template !firmware
     boot*.dev        ./boot[*]/@dev
     bootmenu.enable,menu ./bootmenu/@enable yesno
     bootmenu.timeout     ./bootmenu/@timeout int
     bios.useserial,useserial         ./bios/@useserial yesno
     bios.rebootTimeout,rebootTimeout ./bios/@rebootTimeout int
     smbios.mode,smbios_mode          ./smbios/@mode
     kernel           !kernel
     initrd           !kernel
     cmdline,extra_args,kernel_args  !kernel commas
     dtb              !kernel
     acpi.table       !path
     acpi.table.type  !path
     init             !container
     initargs         !container
     initarg*         !container
     initenv*         !container
     initenv*.name    !container
     initdir          !container
     inituser         !container
     initgroup        !container`,
  ),
  "--idmap": refused("!container"),
  "--iothreads": option(
    "",
    "iothreads",
    `iothreads ./iothreads int
     iothreadids.iothread*.id              ./iothreadids/iothread[*]/@id int
     iothreadids.iothread*.thread_pool_min ./iothreadids/iothread[*]/@thread_pool_min int
     iothreadids.iothread*.thread_pool_max ./iothreadids/iothread[*]/@thread_pool_max int
     defaultiothread.thread_pool_min       ./defaultiothread/@thread_pool_min int
     defaultiothread.thread_pool_max       ./defaultiothread/@thread_pool_max int`,
  ),
  "--seclabel": refused("!confinement"),
  "--keywrap": option("keywrap", undefined, "cipher*.name ./cipher[*]/@name\ncipher*.state ./cipher[*]/@state"),
  "--cputune": option(
    "cputune",
    undefined,
    `shares ./shares int
     period ./period int
     quota ./quota int
     global_period ./global_period int
     global_quota ./global_quota int
     emulator_period ./emulator_period int
     emulator_quota ./emulator_quota int
     iothread_period ./iothread_period int
     iothread_quota ./iothread_quota int
     vcpupin*.vcpu ./vcpupin[*]/@vcpu int
     vcpupin*.cpuset ./vcpupin[*]/@cpuset commas
     emulatorpin.cpuset ./emulatorpin/@cpuset commas
     iothreadpin*.iothread ./iothreadpin[*]/@iothread int
     iothreadpin*.cpuset ./iothreadpin[*]/@cpuset commas
     emulatorsched.scheduler ./emulatorsched/@scheduler
     emulatorsched.priority ./emulatorsched/@priority int
     vcpusched*.vcpus ./vcpusched[*]/@vcpus commas
     vcpusched*.scheduler ./vcpusched[*]/@scheduler
     vcpusched*.priority ./vcpusched[*]/@priority int
     iothreadsched*.iothreads ./iothreadsched[*]/@iothreads commas
     iothreadsched*.scheduler ./iothreadsched[*]/@scheduler
     iothreadsched*.priority ./iothreadsched[*]/@priority int
     cachetune*.vcpus ./cachetune[*]/@vcpus commas
     cachetune*.cache*.id ./cachetune[*]/cache[*]/@id int
     cachetune*.cache*.level ./cachetune[*]/cache[*]/@level int
     cachetune*.cache*.type ./cachetune[*]/cache[*]/@type
     cachetune*.cache*.size ./cachetune[*]/cache[*]/@size int
     cachetune*.cache*.unit ./cachetune[*]/cache[*]/@unit
     cachetune*.monitor*.level ./cachetune[*]/monitor[*]/@level int
     cachetune*.monitor*.vcpus ./cachetune[*]/monitor[*]/@vcpus commas
     memorytune*.vcpus ./memorytune[*]/@vcpus commas
     memorytune*.node*.id ./memorytune[*]/node[*]/@id int
     memorytune*.node*.bandwidth ./memorytune[*]/node[*]/@bandwidth int`,
  ),
  "--numatune": option(
    "numatune",
    "nodeset",
    `nodeset,memory.nodeset ./memory/@nodeset commas
     mode,memory.mode       ./memory/@mode
     memory.placement       ./memory/@placement
     memnode*.cellid        ./memnode[*]/@cellid int
     memnode*.mode          ./memnode[*]/@mode
     memnode*.nodeset       ./memnode[*]/@nodeset commas`,
  ),
  "--memtune": option(
    "memtune",
    "soft_limit",
    `hard_limit ./hard_limit int
     soft_limit ./soft_limit int
     swap_hard_limit ./swap_hard_limit int
     min_guarantee ./min_guarantee int`,
  ),
  "--blkiotune": option(
    "blkiotune",
    "weight",
    `weight ./weight int
     device*.path,device_path !path
     device*.weight,device_weight !path
     device*.read_bytes_sec,read_bytes_sec !path
     device*.write_bytes_sec,write_bytes_sec !path
     device*.read_iops_sec,read_iops_sec !path
     device*.write_iops_sec,write_iops_sec !path`,
  ),
  "--memorybacking": option(
    "memoryBacking",
    undefined,
    `hugepages                       ./hugepages flag
     hugepages.page*.size,size       ./hugepages/page[*]/@size
     hugepages.page*.unit,unit       ./hugepages/page[*]/@unit
     hugepages.page*.nodeset,nodeset ./hugepages/page[*]/@nodeset commas
     nosharepages                    ./nosharepages flag
     locked                          ./locked flag
     access.mode,access_mode         ./access/@mode
     source.type,source_type         ./source/@type
     discard                         ./discard flag
     allocation.mode                 ./allocation/@mode
     allocation.threads              ./allocation/@threads int`,
  ),
  "--features": option(
    "features",
    undefined,
    `acpi -
     apic -
     pae -
     privnet  ./privnet flag
     hap      ./hap flag
     viridian ./viridian flag
     apic.eoi,eoi                           ./apic/@eoi onoff
     pmu.state,pmu                          ./pmu/@state onoff
     hyperv.reset.state,hyperv_reset        ./hyperv/reset/@state onoff
     hyperv.vapic.state,hyperv_vapic        ./hyperv/vapic/@state onoff
     hyperv.relaxed.state,hyperv_relaxed    ./hyperv/relaxed/@state onoff
     hyperv.spinlocks.state,hyperv_spinlocks ./hyperv/spinlocks/@state onoff
     hyperv.spinlocks.retries,hyperv_spinlocks_retries ./hyperv/spinlocks/@retries int
     hyperv.synic.state,hyperv_synic        ./hyperv/synic/@state onoff
     vmport.state,vmport                    ./vmport/@state onoff
     kvm.hidden.state,kvm_hidden            ./kvm/hidden/@state onoff
     kvm.hint-dedicated.state               ./kvm/hint-dedicated/@state onoff
     kvm.poll-control.state                 ./kvm/poll-control/@state onoff
     pvspinlock.state,pvspinlock            ./pvspinlock/@state onoff
     gic.version,gic_version                ./gic/@version
     smm.state,smm                          ./smm/@state onoff
     vmcoreinfo.state,vmcoreinfo            ./vmcoreinfo/@state onoff
     ioapic.driver                          ./ioapic/@driver`,
  ),
  "--clock": option(
    "clock",
    undefined,
    `offset ./@offset
     pit_tickpolicy      ./timer[@name='pit']/@tickpolicy
     rtc_tickpolicy      ./timer[@name='rtc']/@tickpolicy
     platform_present    ./timer[@name='platform']/@present yesno
     pit_present         ./timer[@name='pit']/@present yesno
     rtc_present         ./timer[@name='rtc']/@present yesno
     hpet_present        ./timer[@name='hpet']/@present yesno
     tsc_present         ./timer[@name='tsc']/@present yesno
     kvmclock_present    ./timer[@name='kvmclock']/@present yesno
     hypervclock_present ./timer[@name='hypervclock']/@present yesno
     platform_tickpolicy -
     hpet_tickpolicy -
     tsc_tickpolicy -
     kvmclock_tickpolicy -
     hypervclock_tickpolicy -
     timer*.name       ./timer[*]/@name
     timer*.present    ./timer[*]/@present yesno
     timer*.tickpolicy ./timer[*]/@tickpolicy
     timer*.track      ./timer[*]/@track
     timer*.mode       ./timer[*]/@mode
     timer*.frequency  ./timer[*]/@frequency
     timer*.catchup.threshold ./timer[*]/catchup/@threshold
     timer*.catchup.slew      ./timer[*]/catchup/@slew
     timer*.catchup.limit     ./timer[*]/catchup/@limit`,
  ),
  "--pm": option(
    "pm",
    undefined,
    `suspend_to_mem.enabled,suspend_to_mem   ./suspend-to-mem/@enabled yesno
     suspend_to_disk.enabled,suspend_to_disk ./suspend-to-disk/@enabled yesno`,
  ),
  "--events": option(
    "",
    undefined,
    `on_poweroff ./on_poweroff
     on_reboot ./on_reboot
     on_crash ./on_crash
     on_lockfailure ./on_lockfailure`,
  ),
  "--resource": refused("!cgroup"),
  "--sysinfo": option(
    "sysinfo",
    "type",
    `type - commas
     ${systemEntries("bios", "vendor version date release")}
     ${systemEntries("system", "manufacturer product version serial sku family")}
     system.uuid,system_uuid -
     ${systemEntries("baseBoard", "manufacturer product version serial asset location")}
     ${systemEntries("chassis", "manufacturer version serial asset sku")}
     oemStrings.entry* ./oemStrings/entry[*] commas
     entry*            ./entry[*] commas
     entry*.name       ./entry[*]/@name commas
     entry*.file       !path commas`,
  ),
  "--qemu-commandline": refused("!hypervisor"),
  "--launchSecurity": option(
    "launchSecurity",
    "type",
    `type            ./@type
     cbitpos         ./cbitpos int
     reducedPhysBits ./reducedPhysBits int
     policy          ./policy
     session         ./session
     dhCert          ./dhCert
     kernelHashes    ./@kernelHashes yesno`,
  ),
};
