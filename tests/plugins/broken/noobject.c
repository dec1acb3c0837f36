/* A shared object that is no plugin. */
#include <ctr/plugin.h>

CTR_EXPORT extern const int not_a_plugin;
const int not_a_plugin = 1;
