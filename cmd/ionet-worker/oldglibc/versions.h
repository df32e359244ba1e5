/*
 * Included before every C file of a release build. glibc 2.32 and 2.34 gave the
 * functions below new versions when they moved from libpthread and libdl into libc; the
 * functions are the same. A linker picks the newest version that it sees, so that a
 * binary built on today's glibc would start on no older one. Naming the first version
 * makes it start on both.
 */
#if defined(__linux__) && !defined(__ASSEMBLER__)
#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#define FIRST_DLINFO "GLIBC_2.3.3"
#elif defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#define FIRST_DLINFO "GLIBC_2.17"
#else
#error "the first glibc versions of this architecture's functions are not known"
#endif

#define USE(name, version) __asm__(".symver " #name "," #name "@" version)

USE(dlclose, FIRST);
USE(dlerror, FIRST);
USE(dlinfo, FIRST_DLINFO);
USE(dlopen, FIRST);
USE(dlsym, FIRST);
USE(pthread_attr_getstack, FIRST);
USE(pthread_attr_getstacksize, FIRST);
USE(pthread_create, FIRST);
USE(pthread_detach, FIRST);
USE(pthread_getattr_np, FIRST);
USE(pthread_key_create, FIRST);
USE(pthread_setspecific, FIRST);
USE(pthread_sigmask, FIRST);

#undef USE
#undef FIRST
#undef FIRST_DLINFO
#endif
