// VMware's simulator of vCenter, and a client of it, for bench/vcsim.ts:
//
//	vcsim serve CLUSTERS HOSTS VMS    of each cluster; prints its address, ends with its standard input
//	vcsim list ADDRESS                lists all VMs with name, power state and host for each line of its standard input,
//	                                  and prints a line of JSON
//
// The server is what the `vcsim` command of govmomi 0.24 starts: simulator.VPX() with these counts. The client asks as
// `govc` does for many objects: a container view and one RetrieveProperties of three properties.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
)

func main() {
	log.SetOutput(os.Stderr)
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve":
		serve(number(os.Args[2]), number(os.Args[3]), number(os.Args[4]))
	case len(os.Args) == 3 && os.Args[1] == "list":
		list(os.Args[2])
	default:
		log.Fatal("usage: vcsim serve CLUSTERS HOSTS VMS | vcsim list ADDRESS")
	}
}

func serve(clusters, hosts, vms int) {
	model := simulator.VPX()
	model.Host = 0
	model.Cluster = clusters
	model.ClusterHost = hosts
	model.Machine = vms
	defer model.Remove()
	check(model.Create())
	server := model.Service.NewServer()
	defer server.Close()
	fmt.Println(server.URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	check(err)
}

func list(address string) {
	ctx := context.Background()
	target, err := url.Parse(address)
	check(err)
	client, err := govmomi.NewClient(ctx, target, true)
	check(err)
	manager := view.NewManager(client.Client)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		start := time.Now()
		all, err := manager.CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
		check(err)
		var found []mo.VirtualMachine
		properties := []string{"name", "runtime.powerState", "runtime.host"}
		check(all.Retrieve(ctx, []string{"VirtualMachine"}, properties, &found))
		complete := 0
		for _, vm := range found {
			if vm.Name != "" && vm.Runtime.PowerState != "" && vm.Runtime.Host != nil {
				complete++
			}
		}
		took := time.Since(start)
		check(all.Destroy(ctx))
		fmt.Printf("{\"ms\":%.3f,\"vms\":%d}\n", float64(took.Microseconds())/1000, complete)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
