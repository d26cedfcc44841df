/* udp-encap-tun: carries TCP inside UDP. What there is to run is told in the headers of the rooms.
 */
#include "daemon/daemon.h"

int main(int argc, char **argv)
{
	static struct options options;

	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_DONE:
		return EXIT_CLEAN;
	case OPTIONS_WRONG:
		return EXIT_USAGE;
	default:
		return daemon_run(&options);
	}
}
