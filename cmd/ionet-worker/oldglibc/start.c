/*
 * The C library's own startup file asks for __libc_start_main of glibc 2.34, which
 * runs a program's constructors by itself. The release is linked with
 * --wrap=__libc_start_main, so that it asks for the function below instead, which
 * calls the first version and hands it the constructors, as startup files did before.
 */
typedef int (*main_function)(int, char **, char **);
typedef void (*constructor)(int, char **, char **);

extern constructor __preinit_array_start[] __attribute__((visibility("hidden")));
extern constructor __preinit_array_end[] __attribute__((visibility("hidden")));
extern constructor __init_array_start[] __attribute__((visibility("hidden")));
extern constructor __init_array_end[] __attribute__((visibility("hidden")));

extern int first_start_main(main_function, int, char **, constructor, void (*)(void), void (*)(void), void *);
#if defined(__x86_64__)
__asm__(".symver first_start_main,__libc_start_main@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver first_start_main,__libc_start_main@GLIBC_2.17");
#endif

static void construct(int argc, char **argv, char **env)
{
	for (constructor *c = __preinit_array_start; c < __preinit_array_end; c++)
		(*c)(argc, argv, env);
	for (constructor *c = __init_array_start; c < __init_array_end; c++)
		(*c)(argc, argv, env);
}

int __wrap___libc_start_main(main_function main, int argc, char **argv, constructor init, void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	return first_start_main(main, argc, argv, init ? init : construct, fini, rtld_fini, stack_end);
}
