#include "experiments/utf8.h"

#include <cstdint>

namespace ursa {

bool IsPrintableUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) {
      if (lead < 0x20 || lead == 0x7f) return false;
      continue;
    }
    const int num_more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < static_cast<size_t>(num_more)) return false;
    uint32_t code = lead & (0x3f >> num_more);
    for (int k = 0; k < num_more; ++k) {
      const auto byte = static_cast<uint8_t>(text[i++]);
      if ((byte & 0xc0) != 0x80) return false;
      code = (code << 6) | (byte & 0x3f);
    }
    constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[num_more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) || code < 0xa0)
      return false;
  }
  return true;
}

}  // namespace ursa
