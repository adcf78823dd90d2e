// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

/// Code that exists only inside simulated calls: it is put at a fresh address by a state override, and is never deployed.
///
/// The input is one byte of mode, the token (20 bytes) and steps. A step is made of
///   actor 20 | target 20 | gas 4 | value 16 | flags 1 | length 2 | data
/// The probe itself calls the target when the actor is zero, else the puppet at the actor's address does. Flags:
///   bits 0-1: which of the first four returned words is told; bit 2: one argument of the call becomes the actor's balance
///   of the token, bits 4-6 say which; bit 3: a call that changes nothing counts as failed. A step tells 64 bytes: succeeded 1 | zero 7 | gas 8 | size of the answer 16 | word 32, where the
///   first 32 are one word. Nothing of an answer is copied but that word, so a long answer costs nobody but its caller.
contract Probe {
    uint256 private constant HEAD = 63;

    fallback() external payable {
        if (msg.sender != tx.origin && msg.sender != address(this)) return;
        if (msg.data.length == 0) return;
        uint8 mode = uint8(msg.data[0]);
        address token = address(bytes20(msg.data[1:21]));
        bytes memory told = mode == 0 ? _explore(token) : _branch(token);
        if (mode == 0) {
            assembly { return(add(told, 32), mload(told)) }
        }
        assembly { revert(add(told, 32), mload(told)) }
    }

    /// Input after the token: prefixes 2 | switches 2 | suffixes 2 | the steps in that order. Told: the prefixes' results; then
    /// for each switch a byte (0 it failed, 1 it succeeded, 2 the branch broke off) and, after a 1, the results of the switch
    /// and of the suffixes run after it. Whatever a switch and its suffixes did is taken back before the next one.
    function _explore(address token) private returns (bytes memory out) {
        uint256 prefixes = uint16(bytes2(msg.data[21:23]));
        uint256 switches = uint16(bytes2(msg.data[23:25]));
        uint256 room = 64 * (uint256(uint16(bytes2(msg.data[25:27]))) + 1) + 1;
        uint256 at = 27;
        uint256 used;
        out = new bytes(64 * prefixes + switches * room);
        for (uint256 i; i < prefixes; i++) {
            (bytes32 meta, bytes32 word, uint256 next) = _step(token, at);
            _put(out, used, meta);
            _put(out, used + 32, word);
            (used, at) = (used + 64, next);
        }
        uint256 tail = at;
        for (uint256 i; i < switches; i++) tail = _end(tail);
        uint256 free;
        assembly { free := mload(0x40) }
        for (uint256 i; i < switches; i++) {
            bytes calldata one = msg.data[at:_end(at)];
            at += one.length;
            used = _try(abi.encodePacked(uint8(1), token, one, msg.data[tail:]), out, used);
            assembly { mstore(0x40, free) }
        }
        assembly { mstore(out, used) }
    }

    function _try(bytes memory input, bytes memory out, uint256 used) private returns (uint256) {
        uint256 share = gasleft() / 8;
        (, bytes memory told) = address(this).call{gas: share > 6_000_000 ? 6_000_000 : share}(input);
        out[used++] = bytes1(told.length == 1 ? 0 : told.length == 0 ? 2 : 1);
        if (told.length < 64) return used;
        for (uint256 i; i < told.length; i += 32) {
            bytes32 word;
            assembly { word := mload(add(add(told, 32), i)) }
            _put(out, used + i, word);
        }
        return used + told.length;
    }

    /// A switch that fails ends its branch with one byte.
    function _branch(address token) private returns (bytes memory out) {
        uint256 at = 21;
        uint256 used;
        out = new bytes(64 * (msg.data.length / HEAD + 1));
        while (at < msg.data.length) {
            (bytes32 meta, bytes32 word, uint256 next) = _step(token, at);
            if (used == 0 && uint256(meta) >> 248 == 0) return new bytes(1);
            at = next;
            _put(out, used, meta);
            _put(out, used + 32, word);
            used += 64;
        }
        assembly { mstore(out, used) }
    }

    function _end(uint256 at) private pure returns (uint256) {
        return at + HEAD + uint16(bytes2(msg.data[at + 61:at + 63]));
    }

    function _step(address token, uint256 at) private returns (bytes32 meta, bytes32 word, uint256 next) {
        next = _end(at);
        address actor = address(bytes20(msg.data[at:at + 20]));
        address target = address(bytes20(msg.data[at + 20:at + 40]));
        uint256 limit = uint32(bytes4(msg.data[at + 40:at + 44]));
        uint256 value = uint128(bytes16(msg.data[at + 44:at + 60]));
        uint8 flags = uint8(msg.data[at + 60]);
        bytes memory data = msg.data[at + HEAD:next];
        if (flags & 4 != 0) {
            (bytes32 seen, bytes32 held) =
                _call(token, 200_000, 0, abi.encodeWithSelector(0x70a08231, actor), 0);
            uint256 place = 36 + 32 * uint256(flags >> 4 & 7);
            if (uint256(seen) >> 248 != 0 && data.length >= place) {
                assembly { mstore(add(data, place), held) }
            }
        }
        if (actor == address(0)) {
            (meta, word) = _call(target, limit, value, data, flags & 3);
        } else {
            if (flags & 8 != 0) {
                // A forbidden change burns all gas that it was given, so it is given little.
                (meta,) = _ask(actor, 0, abi.encodePacked(target, uint32(limit / 8), uint8(4), data));
                if (uint256(meta) >> 248 != 0) return (0, 0, next);
            }
            (meta, word) = _ask(actor, value, abi.encodePacked(target, uint32(limit), uint8(flags & 3), data));
        }
    }

    function _ask(address actor, uint256 value, bytes memory wrapped) private returns (bytes32 meta, bytes32 word) {
        assembly {
            mstore(0, 0)
            mstore(32, 0)
            pop(call(gas(), actor, value, add(wrapped, 32), mload(wrapped), 0, 64))
            if gt(returndatasize(), 63) {
                meta := mload(0)
                word := mload(32)
            }
        }
    }

    function _call(address target, uint256 limit, uint256 value, bytes memory data, uint256 take)
        private
        returns (bytes32 meta, bytes32 word)
    {
        assembly {
            let before := gas()
            let ok := call(limit, target, value, add(data, 32), mload(data), 0, 0)
            let spent := sub(before, gas())
            if iszero(lt(returndatasize(), add(mul(take, 32), 32))) {
                returndatacopy(0, mul(take, 32), 32)
                word := mload(0)
            }
            meta := or(or(shl(248, ok), shl(128, and(spent, 0xffffffffffffffff))), returndatasize())
        }
    }

    function _put(bytes memory out, uint256 at, bytes32 word) private pure {
        assembly { mstore(add(add(out, 32), at), word) }
    }
}

abstract contract Obedient {
    /// The head of the input: target 20 | gas 4 | which word of the answer is told, plus 4 to call without changing anything.
    function _obey() internal {
        assembly {
            let head := calldataload(0)
            let size := sub(calldatasize(), 25)
            calldatacopy(0, 25, size)
            let limit := and(shr(64, head), 0xffffffff)
            let before := gas()
            let ok
            switch and(shr(58, head), 1)
            case 0 { ok := call(limit, shr(96, head), callvalue(), 0, size, 0, 0) }
            default { ok := staticcall(limit, shr(96, head), 0, size, 0, 0) }
            let spent := and(sub(before, gas()), 0xffffffffffffffff)
            let from := mul(and(shr(56, head), 3), 32)
            mstore(0, or(or(shl(248, ok), shl(128, spent)), returndatasize()))
            mstore(32, 0)
            if iszero(lt(returndatasize(), add(from, 32))) { returndatacopy(32, from, 32) }
            return(0, 64)
        }
    }
}

/// Code of simulated accounts: does what the probe says, which is the origin of the transaction; takes whatever it is sent.
contract Puppet is Obedient {
    fallback() external payable {
        if (msg.sender == tx.origin) _obey();
    }
}

/// Code in the place of a contract that may have rights. Whoever else calls it fails, so that what needs the real one fails too.
contract Deputy is Obedient {
    fallback() external payable {
        require(msg.sender == tx.origin);
        _obey();
    }
}

/// What an upgrade is tried with: says that it can be an implementation, and does nothing else.
contract Trap {
    function proxiableUUID() external pure returns (bytes32) {
        return 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
    }
}
