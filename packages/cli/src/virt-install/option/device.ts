/**
 * Options that make a device each, with their sub-options. Facts: virt-install 4.1 (`--disk help` and so on; the places
 * are those of virtinst/devices), libvirt 9.0 docs/formatdomain.rst.
 */
import { subOptions, type SubOptionTable } from "../sub-option.ts";
import { address, bootOrder, characterSource, virtio } from "./device-part.ts";

export interface DeviceOption {
  /** libvirt's element. */
  readonly element: string;
  /** Names of values without a name. */
  readonly first: readonly string[];
  readonly table: SubOptionTable;
  /** Refused altogether, with this reason. */
  readonly refused?: string;
}

const character = (element: string): DeviceOption => ({
  element,
  first: ["type"],
  table: subOptions(
    `type,char_type  ./@type
     path            !path
     mode            ./source/@mode
     bind_host       !address
     host            !address
     target.address,target_address  -
     target.type,target_type        ./target/@type
     target.name,name               ./target/@name
     target.port                    ./target/@port int
     target.model.name              ./target/model/@name
     protocol                       !address`,
    characterSource(),
    address,
  ),
});

const disk = subOptions(
  `path -
   backing_store -
   backing_format !backing
   pool -
   vol -
   size -
   format -
   sparse -
   type -
   perms -
   device -
   bus,target.bus                ./target/@bus
   target.dev,target             ./target/@dev
   target.removable,removable    ./target/@removable onoff
   target.rotation_rate,rotation_rate  ./target/@rotation_rate int
   cache,driver.cache            ./driver/@cache
   driver.discard,discard        ./driver/@discard
   driver.detect_zeroes,detect_zeroes  ./driver/@detect_zeroes
   driver.name,driver_name       !platform
   driver.type,driver_type       -
   driver.copy_on_read           ./driver/@copy_on_read onoff
   driver.io,io                  ./driver/@io
   driver.iothread               ./driver/@iothread int
   driver.queues                 ./driver/@queues int
   driver.error_policy,error_policy  ./driver/@error_policy
   snapshot,snapshot_policy      ./@snapshot
   sgio                          !device
   rawio                         !device
   serial                        ./serial
   wwn                           ./wwn
   readonly                      ./readonly flag
   shareable                     ./shareable flag
   transient                     ./transient flag
   transient.shareBacking        ./transient/@shareBacking yesno
   boot.loadparm                 ./boot/@loadparm
   source.startupPolicy,startup_policy  ./source/@startupPolicy
   source.dir                    !path
   source.file                   -
   source.dev                    -
   source.pool,source_pool       -
   source.volume,source_volume   -
   source.name,source_name       !remoteDisk
   source.protocol,source_protocol  !remoteDisk
   source.host*.name,source_host_name            !remoteDisk
   source.host*.port,source_host_port            !remoteDisk
   source.host*.socket,source_host_socket        !remoteDisk
   source.host*.transport,source_host_transport  !remoteDisk
   source.type                   !device
   source.namespace              !device
   source.managed                !device
   source.address.domain         !device
   source.address.bus            !device
   source.address.slot           !device
   source.address.function       !device
   source.seclabel*.model,seclabel*.model      !confinement
   source.seclabel*.relabel,seclabel*.relabel  !confinement
   source.seclabel*.label,seclabel*.label      !confinement commas
   source.reservations.managed,reservations.managed          !device
   source.reservations.source.type,reservations.source.type  !device
   source.reservations.source.path,reservations.source.path  !device
   source.reservations.source.mode,reservations.source.mode  !device
   iotune.read_bytes_sec,read_bytes_sec    ./iotune/read_bytes_sec int
   iotune.write_bytes_sec,write_bytes_sec  ./iotune/write_bytes_sec int
   iotune.total_bytes_sec,total_bytes_sec  ./iotune/total_bytes_sec int
   iotune.read_iops_sec,read_iops_sec      ./iotune/read_iops_sec int
   iotune.write_iops_sec,write_iops_sec    ./iotune/write_iops_sec int
   iotune.total_iops_sec,total_iops_sec    ./iotune/total_iops_sec int
   blockio.logical_block_size,logical_block_size    ./blockio/@logical_block_size
   blockio.physical_block_size,physical_block_size  ./blockio/@physical_block_size
   geometry.cyls   ./geometry/@cyls int
   geometry.heads  ./geometry/@heads int
   geometry.secs   ./geometry/@secs int
   geometry.trans  ./geometry/@trans`,
  bootOrder,
  virtio,
  address,
);

const network = subOptions(
  `type -
   network -
   bridge -
   source -
   model,model.type               ./model/@type
   mac,mac.address                -
   link.state,link_state          -
   trustGuestRxFilters            ./@trustGuestRxFilters yesno
   source.mode,source_mode        !network
   source.type,source_type        !network
   source.path,source_path        !network
   source.portgroup,portgroup     ./source/@portgroup
   target.dev,target              ./target/@dev
   filterref.filter,filterref     ./filterref/@filter
   driver.name,driver_name        ./driver/@name
   driver.queues,driver_queues    ./driver/@queues int
   rom.file,rom_file              !path
   rom.bar,rom_bar                ./rom/@bar onoff
   mtu.size                       ./mtu/@size int
   boot.loadparm                  ./boot/@loadparm
   virtualport.type,virtualport_type                              ./virtualport/@type
   virtualport.parameters.managerid,virtualport_managerid         ./virtualport/parameters/@managerid int
   virtualport.parameters.typeid,virtualport_typeid               ./virtualport/parameters/@typeid int
   virtualport.parameters.typeidversion,virtualport_typeidversion ./virtualport/parameters/@typeidversion int
   virtualport.parameters.instanceid,virtualport_instanceid       ./virtualport/parameters/@instanceid
   virtualport.parameters.profileid,virtualport_profileid         ./virtualport/parameters/@profileid
   virtualport.parameters.interfaceid,virtualport_interfaceid     ./virtualport/parameters/@interfaceid`,
  bootOrder,
  virtio,
  address,
);

const graphics = subOptions(
  `type -
   port -
   tlsPort,tlsport                 -
   listen -
   keymap -
   websocket                       ./@websocket int
   password,passwd                 ./@passwd
   passwordValidTo,passwdValidTo   ./@passwdValidTo
   connected                       ./@connected
   defaultMode                     ./@defaultMode
   listens*.type                   ./listen[*]/@type
   listens*.address                ./listen[*]/@address
   listens*.network                ./listen[*]/@network
   listens*.socket                 !path
   image.compression,image_compression      ./image/@compression
   streaming.mode,streaming_mode            ./streaming/@mode
   clipboard.copypaste,clipboard_copypaste  ./clipboard/@copypaste yesno
   mouse.mode,mouse_mode                    ./mouse/@mode
   filetransfer.enable,filetransfer_enable  ./filetransfer/@enable yesno
   zlib.compression                         ./zlib/@compression
   gl.enable,gl                             ./gl/@enable yesno
   gl.rendernode,rendernode                 !device`,
  address,
);

const plain = (element: string, first: string, table: string, ...more: readonly string[]): DeviceOption => ({
  element,
  first: [first],
  table: subOptions(table, address, ...more),
});
const refused = (element: string, reason: string): DeviceOption => ({ element, first: [], table: [], refused: reason });

/** By option. `default` as a value stands for what is said by saying nothing. */
export const deviceOptions: Readonly<Record<string, DeviceOption>> = {
  "--disk": { element: "disk", first: ["path"], table: disk },
  "--network": { element: "interface", first: ["type"], table: network },
  "--graphics": { element: "graphics", first: ["type"], table: graphics },
  "--controller": plain(
    "controller",
    "type",
    `type                        ./@type
     model                       ./@model
     index                       ./@index int
     maxGrantFrames              ./@maxGrantFrames int
     vectors                     ./@vectors int
     master.startport,master     ./master/@startport int
     driver.iothread             ./driver/@iothread int
     driver.queues,driver_queues ./driver/@queues int
     target.chassisNr            ./target/@chassisNr int
     target.chassis              ./target/@chassis int
     target.port                 ./target/@port int
     target.hotplug              ./target/@hotplug onoff
     target.busNr                ./target/@busNr int
     target.index                ./target/@index int
     target.node                 ./target/node int
     address                     -
     num_pcie_root_ports         -`,
    virtio,
  ),
  "--input": plain(
    "input",
    "type",
    `type  ./@type
     bus   ./@bus
     model ./@model
     source.evdev !device
     source.dev !device
     source.repeat !device
     source.grab !device
     source.grabToggle !device`,
    virtio,
  ),
  "--serial": character("serial"),
  "--parallel": character("parallel"),
  "--channel": character("channel"),
  "--console": character("console"),
  "--hostdev": refused("hostdev", "!device"),
  "--filesystem": refused("filesystem", "!share"),
  "--sound": plain(
    "sound",
    "model",
    `model ./@model
     audio.id ./audio/@id
     codec*.type ./codec[*]/@type`,
  ),
  "--audio": { element: "audio", first: [], table: subOptions("type ./@type\nid ./@id\nclearxml !edit") },
  "--watchdog": plain("watchdog", "model", "model ./@model\naction ./@action"),
  "--video": plain(
    "video",
    "model.type",
    `model.type,model                            ./model/@type
     model.acceleration.accel3d,accel3d          ./model/acceleration/@accel3d yesno
     model.heads,heads                           ./model/@heads int
     model.ram,ram                               ./model/@ram int
     model.vram,vram                             ./model/@vram int
     model.vram64,vram64                         ./model/@vram64 int
     model.vgamem,vgamem                         ./model/@vgamem int`,
    virtio,
  ),
  "--smartcard": plain(
    "smartcard",
    "mode",
    `mode ./@mode
     type ./@type
     database !path commas
     certificate* !path commas`,
    characterSource(),
  ),
  "--redirdev": plain("redirdev", "bus", "bus ./@bus\ntype ./@type\nserver !address", bootOrder, characterSource()),
  "--memballoon": plain(
    "memballoon",
    "model",
    `model             ./@model
     autodeflate       ./@autodeflate onoff
     stats.period      ./stats/@period int
     freePageReporting ./@freePageReporting onoff`,
    virtio,
  ),
  "--tpm": plain(
    "tpm",
    "type",
    `model                          ./@model
     backend.type,type              ./backend/@type
     backend.version,version        ./backend/@version
     backend.device.path,path       !device
     backend.encryption.secret      !secret
     backend.persistent_state       ./backend/@persistent_state yesno
     active_pcr_banks.sha1          ./backend/active_pcr_banks/sha1 flag
     active_pcr_banks.sha256        ./backend/active_pcr_banks/sha256 flag
     active_pcr_banks.sha384        ./backend/active_pcr_banks/sha384 flag
     active_pcr_banks.sha512        ./backend/active_pcr_banks/sha512 flag`,
  ),
  "--rng": plain(
    "rng",
    "backend.model",
    `type,backend.model        ./backend/@model
     device,backend            ./backend
     model                     ./@model
     backend.type,backend_type !address
     backend_mode !address
     backend_host !address
     backend_service !address
     backend_connect_host !address
     backend_connect_service !address
     rate.bytes,rate_bytes     ./rate/@bytes
     rate.period,rate_period   ./rate/@period`,
    virtio,
    characterSource("backend."),
  ),
  "--panic": plain("panic", "model", "model ./@model\niobase ./address/@iobase"),
  "--shmem": refused("shmem", "!share"),
  "--memdev": plain(
    "memory",
    "model",
    `model                         ./@model
     access                        ./@access
     discard                       ./@discard yesno
     uuid                          ./uuid
     target.size,target_size       ./target/size mib
     target.node,target_node       ./target/node int
     target.label_size,target_label_size ./target/label/size mib
     target.block                  ./target/block int
     target.current                ./target/current int
     target.requested              ./target/requested int
     target.readonly               ./target/readonly flag
     source.pagesize,source_pagesize ./source/pagesize int
     source.path,source_path       !path
     source.nodemask,source_nodemask ./source/nodemask commas
     source.pmem                   ./source/pmem flag
     source.alignsize              ./source/alignsize mib`,
  ),
  "--vsock": plain(
    "vsock",
    "model",
    `model              ./@model
     cid.auto,auto_cid  ./cid/@auto yesno
     cid.address,cid    ./cid/@address int`,
    virtio,
  ),
  "--iommu": {
    element: "iommu",
    first: ["model"],
    table: subOptions(
      `model ./@model
       driver.aw_bits      ./driver/@aw_bits int
       driver.intremap     ./driver/@intremap onoff
       driver.caching_mode ./driver/@caching_mode onoff
       driver.eim          ./driver/@eim onoff
       driver.iotlb        ./driver/@iotlb onoff
       clearxml !edit`,
    ),
  },
};
