// Kernel sockets on the loop.
#pragma once

#include "env/env.h"
#include "env/posix/loop.h"

namespace knarr::env::posix {

class PosixNetwork final : public Network {
 public:
  explicit PosixNetwork(Loop& loop) : loop_(loop) {}
  Result<std::unique_ptr<Listener>> listen(std::string_view address,
                                           std::move_only_function<void(std::unique_ptr<Stream>)> accept) override;
  void connect(std::string_view address, Duration timeout,
               std::move_only_function<void(Result<std::unique_ptr<Stream>>)> connected) override;
  Result<std::unique_ptr<DatagramSocket>> bindDatagram(std::string_view address) override;

  void resolve(std::string_view host, std::move_only_function<void(Result<std::vector<std::string>>)> resolved) override;

 private:
  Loop& loop_;
};

// A stream over any non-blocking descriptor (socket, pipe, terminal) that epoll accepts.
std::unique_ptr<Stream> makeFdStream(Loop& loop, Fd fd);

}  // namespace knarr::env::posix
