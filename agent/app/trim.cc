// Walks the loaded objects as the dynamic linker lists them.
#include "agent/app/trim.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace dipper::app {
namespace {

// Relocations in code (which no library should have) live in private copies of its pages: dropping those
// would bring back the file's bytes.
bool HasTextRelocations(const dl_phdr_info& object) {
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const auto& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_DYNAMIC) continue;
    const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + segment.p_vaddr);
    for (; entry->d_tag != DT_NULL; ++entry) {
      if (entry->d_tag == DT_TEXTREL) return true;
      if (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0) return true;
    }
    return false;
  }
  return true;  // no dynamic section: not known, so left alone
}

int DropReadOnlySegments(dl_phdr_info* object, size_t, void* page_bytes) {
  if (HasTextRelocations(*object)) return 0;
  const uintptr_t page = *static_cast<const uintptr_t*>(page_bytes);
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    // Segments made read-only after relocation (RELRO) are writable ones here and stay.
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    const uintptr_t first = begin / page * page;
    const uintptr_t end = begin + segment.p_memsz;
    // A failure leaves the pages where they are, which is no harm.
    (void)::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
  }
  return 0;
}

}  // namespace

void TrimMemory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
  uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  ::dl_iterate_phdr(DropReadOnlySegments, &page);
}

}  // namespace dipper::app
