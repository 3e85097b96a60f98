// pause: the process that holds a pod's namespaces. It reaps what is orphaned to it and ends on SIGTERM or SIGINT.
//
// No libc: the program is a few hundred bytes of code and one page of memory per pod. The signals are blocked and taken
// with rt_sigtimedwait, because the kernel drops unblocked default signals to the first process of a PID namespace.
// Upstream counterpart: build/pause/linux/pause.c. Source: rt_sigtimedwait(2), wait4(2), pid_namespaces(7).

#if defined(__x86_64__)
enum { kWrite = 1, kExit = 231, kSigprocmask = 14, kSigtimedwait = 128, kWait4 = 61, kGetpid = 39 };
static long syscall4(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl _start\n_start:\n xor %rbp,%rbp\n mov %rsp,%rdi\n and $-16,%rsp\n call pauseMain\n");
#elif defined(__aarch64__)
enum { kWrite = 64, kExit = 94, kSigprocmask = 135, kSigtimedwait = 137, kWait4 = 260, kGetpid = 172 };
static long syscall4(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x0,sp\n bl pauseMain\n");
#else
#error "pause knows x86_64 and aarch64"
#endif

enum { kSigint = 2, kSigterm = 15, kSigchld = 17, kSigBlock = 0, kWnohang = 1, kEintr = 4 };

static void say(const char* text, long length) { syscall4(kWrite, 2, (long)text, length, 0); }
#define SAY(text) say(text, sizeof(text) - 1)

__attribute__((noreturn)) static void leave(int code) {
  for (;;) syscall4(kExit, code, 0, 0, 0);
}

__attribute__((noreturn, used)) void pauseMain(const long* stack) {
  const char* const* arguments = (const char* const*)(stack + 1);
  if (stack[0] > 1 && arguments[1][0] == '-' && arguments[1][1] == 'v' && arguments[1][2] == 0) {
    SAY("pause of knarr, as pause 3.10\n");
    leave(0);
  }
  if (syscall4(kGetpid, 0, 0, 0, 0) != 1) SAY("Warning: pause should be the first process\n");
  unsigned long signals = 1UL << (kSigint - 1) | 1UL << (kSigterm - 1) | 1UL << (kSigchld - 1);
  if (syscall4(kSigprocmask, kSigBlock, (long)&signals, 0, sizeof signals) < 0) leave(1);
  for (;;) {
    long got = syscall4(kSigtimedwait, (long)&signals, 0, 0, sizeof signals);
    if (got == kSigint || got == kSigterm) {
      SAY("Shutting down\n");
      leave(0);
    }
    if (got < 0 && got != -kEintr) leave(2);
    while (syscall4(kWait4, -1, 0, kWnohang, 0) > 0) {
    }
  }
}
