/** Sub-options that many devices share (virtinst/cli.py 4.1 `_add_common_device_args`, `_add_char_source_args`). */

export const address = `
  address.type            ./address/@type
  address.domain          ./address/@domain
  address.bus             ./address/@bus
  address.slot            ./address/@slot
  address.multifunction   ./address/@multifunction onoff
  address.function        ./address/@function
  address.controller      ./address/@controller
  address.unit            ./address/@unit
  address.port            ./address/@port
  address.target          ./address/@target
  address.reg             ./address/@reg
  address.cssid           ./address/@cssid
  address.ssid            ./address/@ssid
  address.devno           ./address/@devno
  address.iobase          ./address/@iobase
  address.irq             ./address/@irq
  address.base            ./address/@base
  address.zpci.uid        ./address/zpci/@uid
  address.zpci.fid        ./address/zpci/@fid
  alias.name              ./alias/@name
  clearxml                !edit`;

export const bootOrder = `
  boot.order,boot_order   -`;

export const virtio = `
  driver.ats              ./driver/@ats onoff
  driver.iommu            ./driver/@iommu onoff
  driver.packed           ./driver/@packed onoff
  driver.page_per_vq      ./driver/@page_per_vq onoff`;

/** Where a character device's other end is: in the host. `prefix` is that of the names. */
export const characterSource = (prefix = ""): string => `
  ${prefix}source.path             !path
  ${prefix}source.host             !address
  ${prefix}source.service          !address
  ${prefix}source.bind_host        !address
  ${prefix}source.bind_service     !address
  ${prefix}source.connect_host     !address
  ${prefix}source.connect_service  !address
  ${prefix}source.mode             ./source/@mode
  ${prefix}source.master           !path
  ${prefix}source.slave            !path
  ${prefix}source.seclabel*.model    !confinement
  ${prefix}source.seclabel*.relabel  !confinement
  ${prefix}source.seclabel*.label    !confinement commas
  ${prefix}protocol.type           !address
  ${prefix}log.file                !path
  ${prefix}log.append              !path
  ${prefix}source.clipboard.copypaste  ./source/clipboard/@copypaste yesno
  ${prefix}source.mouse.mode       ./source/mouse/@mode
  ${prefix}source.channel          ./source/@channel
  ${prefix}source.tls              !address`;
