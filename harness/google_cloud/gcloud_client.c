/* Has the server of gcloud_server.py run a gcloud command: what the tests find as `gcloud`.
 *
 * It starts 6,000 times in a test run, and Python alone would take 8 ms for each. It passes on its streams, its folder,
 * its arguments and its environment. gcloud.py defines ADDRESS, the server's socket, and GCLOUD, the real program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

/* What is left when the server has ended, did not finish within its time, or crashed. */
static int real_gcloud(char **arguments) {
    execv(GCLOUD, arguments);
    perror(GCLOUD);
    return 127;
}

static int connect_to_server(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = ADDRESS};
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(server, (struct sockaddr *)&address, sizeof address) == 0 ? server : -1;
}

static void send_streams(int server) {
    int streams[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    union {
        char bytes[CMSG_SPACE(sizeof streams)];
        struct cmsghdr aligned;
    } rights = {0};
    struct iovec byte = {.iov_base = ".", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &byte, .msg_iovlen = 1, .msg_control = rights.bytes, .msg_controllen = sizeof rights.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof streams);
    memcpy(CMSG_DATA(header), streams, sizeof streams);
    sendmsg(server, &message, 0);
}

/* The folder, the number of arguments, the arguments and the variables, with a zero byte between them. */
static void send_command(int server, int count, char **arguments) {
    char *folder = getcwd(NULL, 0);
    FILE *out = fdopen(dup(server), "w");
    fprintf(out, "%s%c%d", folder ? folder : "/", 0, count - 1);
    for (char **argument = arguments + 1; *argument; argument++) fprintf(out, "%c%s", 0, *argument);
    for (char **variable = environ; *variable; variable++) fprintf(out, "%c%s", 0, *variable);
    fclose(out);
    shutdown(server, SHUT_WR);
}

int main(int count, char **arguments) {
    char status[17] = {0};
    int server = connect_to_server();
    if (server < 0) return real_gcloud(arguments);
    send_streams(server);
    send_command(server, count, arguments);
    if (read(server, status, 16) <= 0) return real_gcloud(arguments);
    return atoi(status);
}
