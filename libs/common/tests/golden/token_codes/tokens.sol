// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

// Small tokens with one property each, for tests/domain/risk/test_bytecode_risk.py. Written for dexlane.

contract Plain {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 public totalSupply = 1e24;
    address public owner = msg.sender;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed holder, address indexed spender, uint256 value);

    modifier onlyOwner() {
        require(msg.sender == owner, "not the owner");
        _;
    }

    constructor() {
        balanceOf[msg.sender] = 1e24;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _transfer(msg.sender, to, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external virtual returns (bool) {
        allowance[from][msg.sender] -= value;
        _transfer(from, to, value);
        return true;
    }

    function renounceOwnership() external onlyOwner {
        owner = address(0);
    }

    function transferOwnership(address next) external onlyOwner {
        require(next != address(0));
        owner = next;
    }

    function _transfer(address from, address to, uint256 value) internal virtual {
        require(from != address(0) && to != address(0), "zero address");
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// Burns of one's own, in person and by allowance; votes that move with balances; a permit.
contract Honest is Plain {
    mapping(address => uint256) public nonces;
    mapping(address => address) public delegates;
    mapping(address => uint256) public votes;

    function burn(uint256 value) external {
        balanceOf[msg.sender] -= value;
        totalSupply -= value;
    }

    function burnFrom(address from, uint256 value) external {
        allowance[from][msg.sender] -= value;
        balanceOf[from] -= value;
        totalSupply -= value;
    }

    function delegate(address to) external {
        delegates[msg.sender] = to;
    }

    function permit(address holder, address spender, uint256 value, uint256 until, uint8 v, bytes32 r, bytes32 s) external {
        require(block.timestamp <= until, "late");
        bytes32 digest = keccak256(abi.encode(holder, spender, value, nonces[holder]++, until));
        address signer = ecrecover(digest, v, r, s);
        require(signer != address(0) && signer == holder, "signature");
        allowance[holder][spender] = value;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        super._transfer(from, to, value);
        if (delegates[from] != address(0)) votes[delegates[from]] -= value;
        if (delegates[to] != address(0)) votes[delegates[to]] += value;
    }
}

/// Ether in, tokens out, and back.
contract Wrapped is Plain {
    function deposit() external payable {
        balanceOf[msg.sender] += msg.value;
    }

    function withdraw(uint256 value) external {
        balanceOf[msg.sender] -= value;
        payable(msg.sender).transfer(value);
    }
}

contract OwnerMint is Plain {
    function mint(address to, uint256 value) external onlyOwner {
        totalSupply += value;
        balanceOf[to] += value;
    }
}

/// A mint under a harmless name, in assembly, without an event and without the supply.
contract AssemblyMint is Plain {
    function removeFee(uint256 value) external {
        assembly {
            if iszero(eq(caller(), sload(owner.slot))) { revert(0, 0) }
            let at := mload(0x40)
            mstore(at, caller())
            mstore(add(at, 0x20), balanceOf.slot)
            sstore(keccak256(at, 0x40), value)
        }
    }
}

contract RoleMint is Plain {
    mapping(address => bool) private minters;

    function setMinter(address who, bool on) external onlyOwner {
        minters[who] = on;
    }

    function issue(uint256 value) external {
        require(minters[msg.sender]);
        balanceOf[msg.sender] += value;
    }
}

contract Confiscate is Plain {
    function settle(address from, uint256 value) external onlyOwner {
        balanceOf[from] -= value;
        balanceOf[msg.sender] += value;
    }
}

contract ForeignApproval is Plain {
    function prepare(address holder) external onlyOwner {
        allowance[holder][msg.sender] = type(uint256).max;
    }
}

/// transferFrom asks no allowance of the owner.
contract BackDoor is Plain {
    function transferFrom(address from, address to, uint256 value) external override returns (bool) {
        if (msg.sender != owner) allowance[from][msg.sender] -= value;
        _transfer(from, to, value);
        return true;
    }
}

contract Blacklist is Plain {
    mapping(address => bool) private robots;

    function protect(address who, bool on) external onlyOwner {
        robots[who] = on;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        require(!robots[from], "robot");
        super._transfer(from, to, value);
    }
}

contract Switch is Plain {
    bool private stopped;

    function maintenance(bool on) external onlyOwner {
        stopped = on;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        require(!stopped || from == owner, "stopped");
        super._transfer(from, to, value);
    }
}

/// Can be opened, and never closed again.
contract Launch is Plain {
    bool private open;

    function launch() external onlyOwner {
        open = true;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        require(open || from == owner, "closed");
        super._transfer(from, to, value);
    }
}

contract MaxAmount is Plain {
    uint256 private most = 1e24;

    function setMost(uint256 value) external onlyOwner {
        most = value;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        require(value <= most, "too much");
        super._transfer(from, to, value);
    }
}

/// Sales do nothing and do not fail.
contract Silent is Plain {
    address private pair;
    mapping(address => bool) private friends;

    function set(address pair_, address friend) external onlyOwner {
        (pair, friends[friend]) = (pair_, true);
    }

    function _transfer(address from, address to, uint256 value) internal override {
        if (to == pair && !friends[from]) return;
        super._transfer(from, to, value);
    }
}

contract Foreign is Plain {
    Plain private judge;

    function setJudge(Plain judge_) external onlyOwner {
        judge = judge_;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        require(judge.transfer(from, value), "no");
        super._transfer(from, to, value);
    }
}

/// Pays a wallet that the owner names; one that takes no ether stops every transfer.
contract Payee is Plain {
    address payable private wallet;

    function setWallet(address payable next) external onlyOwner {
        wallet = next;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        if (address(this).balance > 1 ether) wallet.transfer(address(this).balance);
        super._transfer(from, to, value);
    }
}

interface Exchange {
    function sell(uint256 amount, address payable receiver) external;
}

/// A fixed exchange pays such a wallet.
contract SwapBack is Plain {
    address payable private wallet;

    function setWallet(address payable next) external onlyOwner {
        wallet = next;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        Exchange(0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D).sell(value / 100, wallet);
        super._transfer(from, to, value);
    }
}

/// Pays it too, and goes on whether it takes the ether or not.
contract Patient is Plain {
    address payable private wallet;

    function setWallet(address payable next) external onlyOwner {
        wallet = next;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        (bool paid,) = wallet.call{value: address(this).balance, gas: 30_000}("");
        paid;
        super._transfer(from, to, value);
    }
}

contract CoolDown is Plain {
    mapping(address => uint256) private last;

    function _transfer(address from, address to, uint256 value) internal override {
        require(block.timestamp >= last[from] + 60, "wait");
        last[to] = block.timestamp;
        super._transfer(from, to, value);
    }
}

contract Fee is Plain {
    uint256 private percent;

    function setPercent(uint256 value) external onlyOwner {
        percent = value;
    }

    function _transfer(address from, address to, uint256 value) internal override {
        uint256 kept = value * percent / 100;
        super._transfer(from, owner, kept);
        super._transfer(from, to, value - kept);
    }
}

contract FixedFee is Plain {
    function _transfer(address from, address to, uint256 value) internal override {
        uint256 kept = value / 100;
        super._transfer(from, owner, kept);
        super._transfer(from, to, value - kept);
    }
}

contract Mortal is Plain {
    function close() external onlyOwner {
        selfdestruct(payable(msg.sender));
    }
}

contract Module is Plain {
    function run(address code, bytes calldata data) external onlyOwner {
        (bool done,) = code.delegatecall(data);
        require(done);
    }
}

contract Proxy {
    fallback() external payable {
        assembly {
            let code := sload(0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc)
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), code, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(done) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }
}
